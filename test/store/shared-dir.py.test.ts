import { execFile } from 'node:child_process'
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { SampleId } from '../../src/core/ids.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, bench, s0, s1, sample } from '../contract/subject.ts'
import { digestsOf, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

const run = promisify(execFile)
let root = ''
/** Stores opened in one test without `freshRoot` in between share one directory, as two processes would. */
const { store, put, consume } = bench({ open: ({ retain }) => sharedDirFeatureStore({ python, root, retain }) })
const freshRoot = async () => {
  root = path.join(await tempDir(), 'store')
}

async function objects(): Promise<string[]> {
  const names = await readdir(path.join(root, 'objects'), { recursive: true })
  return names.filter((name) => name.endsWith('.safetensors')).map((name) => path.join(root, 'objects', name))
}

async function onlyObject(): Promise<string> {
  const [file, ...others] = await objects()
  if (file === undefined || others.length > 0) throw new Error(`${others.length + 1} objects`)
  return file
}

describe('a store in a directory, opened again', () => {
  it('keeps its id and its refs', async () => {
    await freshRoot()
    const before = await store()
    const ref = await put(before, s0, 1)
    await before.close()
    const after = await store({ retain: true })
    expect(after.id).toBe(before.id)
    expect(await consume(after, ref)).toEqual(ref.digests)
  })

  it('refuses a ref that was freed, when the sample was put again after the restart', async () => {
    await freshRoot()
    const before = await store()
    const stale = await put(before, s0, 1)
    await consume(before, stale)
    await before.close()
    const after = await store()
    const fresh = await put(after, s0, 1)
    const details = { current: fresh.generation }
    await expect(after.get(stale)).rejects.toMatchObject({ code: 'SAMPLE_STALE', details })
  })

  it('has freed what was released just before it was closed', async () => {
    await freshRoot()
    const before = await store()
    const lease = await before.get(await put(before, s0, 1))
    const released = lease[Symbol.asyncDispose]()
    await Promise.all([before.close(), released])
    expect(await objects()).toEqual([])
  })

  it('keeps what was still leased when it was closed', async () => {
    await freshRoot()
    const before = await store()
    const lease = await before.get(await put(before, s0, 1))
    await before.close()
    await lease[Symbol.asyncDispose]()
    expect(await objects()).toHaveLength(1)
  })

  it('drops what an earlier process left of a sample, once it is put again', async () => {
    await freshRoot()
    const stale = await put(await store(), s0, 1)
    const copy = `${await onlyObject()}.keep`
    await copyFile(await onlyObject(), copy)
    const after = await store({ retain: true })
    const fresh = await put(after, s0, 2)
    expect(await objects()).toHaveLength(1)
    await rename(copy, copy.replace(/\.keep$/, ''))
    await put(await store({ retain: true }), s0, 3)
    expect(await objects()).toHaveLength(1)
    for (const ref of [stale, fresh]) await expect(after.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  })

  it('does not mind what a killed process left in staging', async () => {
    await freshRoot()
    const ref = await put(await store(), s0, 1)
    await writeFile(path.join(root, 'staging', '1234.half.safetensors'), 'half')
    await writeFile(path.join(root, 'objects', 'README'), 'not an object')
    const after = await store({ retain: true })
    expect(await consume(after, ref)).toEqual(ref.digests)
    await put(after, s1, 2)
  })

  it('leaves nothing in staging, after a put and after a put that failed', async () => {
    await freshRoot()
    const subject = await store()
    await put(subject, s0, 1)
    const dir = path.dirname(await onlyObject())
    await rm(dir, { recursive: true })
    await writeFile(dir, 'in the way')
    await using source = await sample(1)
    await expect(subject.put(s0, source, about)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await readdir(path.join(root, 'staging', subject.memberId))).toEqual([])
    await rm(dir)
    await put(subject, s0, 1)
  })
})

describe('two producers on one directory', () => {
  it('never mint the same generation, and each put outdates the one before, whoever made it', async () => {
    await freshRoot()
    const [a, b] = [await store({ retain: true }), await store({ retain: true })]
    await put(a, s1, 9)
    const refs = []
    for (const [turn, producer] of [a, b, a, a, b, b, a].entries()) refs.push(await put(producer, s0, turn))
    const generations = refs.map((ref) => ref.generation)
    expect(generations).toEqual([...new Set(generations)].sort((x, y) => x - y))
    for (const reader of [a, b]) {
      for (const ref of refs.slice(0, -1)) {
        await expect(reader.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
      }
      const newest = SampleRef.parse(refs.at(-1))
      expect(await consume(reader, newest)).toEqual(newest.digests)
    }
  })

  it('cannot be fooled by a generation from far ahead', async () => {
    await freshRoot()
    const subject = await store({ retain: true })
    const ref = await put(subject, s0, 1)
    const ahead = path.join(path.dirname(await onlyObject()), `${s0}.${900 * 2 ** 20 + 5}.safetensors`)
    await rename(await onlyObject(), ahead)
    const after = await put(await store({ retain: true }), s0, 2)
    expect(after.generation).toBe(901 * 2 ** 20 + 1)
    await expect(subject.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    await rename(await onlyObject(), path.join(path.dirname(ahead), `${s0}.${Number.MAX_SAFE_INTEGER}.safetensors`))
    await expect(put(await store(), s0, 3)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it('in two processes at once leave one whole newest sample', async () => {
    await freshRoot()
    const subject = await store({ retain: true })
    const program = path.resolve('test/support/put-repeatedly.ts')
    const child = run(process.execPath, ['--import', 'tsx', program, root, '40'])
    const ours: SampleRef[] = []
    let childRuns = true
    const theirs = child.then(({ stdout }) => z.array(SampleRef).parse(JSON.parse(stdout)))
    void theirs.catch(() => undefined).then(() => (childRuns = false))
    for (let seed = 0; childRuns; seed++) ours.push(await put(subject, SampleId.parse('contended'), seed))
    const all = [...ours, ...(await theirs)].sort((a, b) => a.generation - b.generation)
    expect(new Set(all.map((ref) => ref.generation)).size).toBe(all.length)
    const newest = SampleRef.parse(all.pop())
    expect(await consume(subject, newest)).toEqual(newest.digests)
    for (const ref of all) await expect(subject.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
    expect(await objects()).toHaveLength(1)
  })
})

describe('a stored object', () => {
  it('opens in the safetensors library, on a page boundary, with the same bytes and metadata', async () => {
    await freshRoot()
    const subject = await store({ retain: true })
    const ref = await put(subject, s1, 1)
    const file = await onlyObject()
    const script = `
import json, sys, numpy, xxhash
from safetensors import safe_open
with safe_open(sys.argv[1], "np") as f:
    digests = {k: "xxh3_64:" + xxhash.xxh3_64_hexdigest(f.get_tensor(k).tobytes()) for k in f.keys()}
    print(json.dumps({"metadata": f.metadata(), "digests": digests}))`
    const { executable } = await python.call('host.info', {})
    const { stdout } = await run(executable, ['-c', script, file])
    const digests = Object.fromEntries(Object.entries(ref.digests).map(([name, digest]) => [`digest.${name}`, digest]))
    expect(JSON.parse(stdout)).toMatchObject({
      digests: ref.digests,
      metadata: {
        format: 'draftbridge.sample.1',
        store_id: ref.storeId,
        run_id: 'run',
        sample_id: s1,
        generation: String(ref.generation),
        ...digests,
      },
    })
    const head = (await readFile(file)).readBigUInt64LE(0)
    expect((Number(head) + 8) % 4096).toBe(0)
  })

  it('is private, and so is every directory around it', async () => {
    await freshRoot()
    await put(await store(), s0, 1)
    const mode = async (file: string) => (await stat(file)).mode & 0o777
    const file = await onlyObject()
    expect([await mode(file), await mode(path.join(root, 'store.json'))]).toEqual([0o600, 0o600])
    for (const dir of [root, 'objects', 'staging', 'quarantine', 'notes', path.dirname(file)]) {
      expect(await mode(path.resolve(root, dir))).toBe(0o700)
    }
    expect(path.relative(root, file)).toMatch(/^objects\/[0-9a-f]{2}\/run:00000000\.\d+\.safetensors$/)
  })

  const spoil: Readonly<Record<string, (file: string, bytes: Buffer) => Promise<void>>> = {
    'cut short': (file, bytes) => writeFile(file, bytes.subarray(0, -1)),
    'cut inside its header': (file, bytes) => writeFile(file, bytes.subarray(0, 100)),
    emptied: (file) => writeFile(file, ''),
    'grown longer': (file, bytes) => writeFile(file, Buffer.concat([bytes, Buffer.alloc(1)])),
    'zeroed from its data on': (file, bytes) => writeFile(file, bytes.fill(0, 4096)),
    'flipped in one bit of its data': (file, bytes) => writeFile(file, flipped(bytes, bytes.length - 9)),
    'a symbolic link': async (file) => {
      await rename(file, `${file}.elsewhere`)
      await symlink(`${file}.elsewhere`, file)
    },
    'a directory': async (file) => {
      await rm(file)
      await mkdir(file)
    },
    'a pipe nobody writes to': async (file) => {
      await rm(file)
      await run('mkfifo', [file])
    },
  }
  it.each(Object.entries(spoil))('that is %s is SAMPLE_CORRUPT and never served', async (_, damage) => {
    await freshRoot()
    const subject = await store({ retain: true })
    const ref = await put(subject, s0, 1)
    const file = await onlyObject()
    await damage(file, await readFile(file))
    const details = { file, found: expect.any(String), fix: expect.any(String) }
    await expect(subject.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT', details })
  })

  it('with any one bit of its header flipped is an error, or still gives the same bytes', async () => {
    await freshRoot()
    const subject = await store({ retain: true })
    const ref = await put(subject, s0, 1)
    const file = await onlyObject()
    const whole = await readFile(file)
    const used = whole.subarray(0, 4096).toString('latin1').trimEnd().length
    for (let at = 0; at < used; at += 3) {
      await writeFile(file, flipped(Buffer.from(whole), at))
      const outcome = await consume(subject, ref).catch((error: unknown) => error)
      const harmless = expect.objectContaining({ input_ids: ref.digests['input_ids'] })
      const refused = expect.objectContaining({ code: expect.stringMatching(/SAMPLE_CORRUPT|SPEC_MISMATCH/) })
      expect(
        [harmless, refused].some((each) => each.asymmetricMatch(outcome)),
        `bit in byte ${at}`,
      ).toBe(true)
    }
  })

  it('put in the place of another sample, or of a newer put, is SAMPLE_CORRUPT', async () => {
    await freshRoot()
    const subject = await store({ retain: true })
    const old = await put(subject, s0, 1)
    const oldFile = await onlyObject()
    const kept = path.join(root, 'kept')
    await copyFile(oldFile, kept)
    const other = await put(subject, s1, 1)
    const fresh = await put(subject, s0, 1)
    for (const ref of [other, fresh]) {
      const file = (await objects()).find((each) => each.endsWith(`${ref.sampleId}.${ref.generation}.safetensors`))
      await copyFile(kept, file ?? '')
      await expect(subject.get(ref)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
    }
    await expect(subject.get(old)).rejects.toMatchObject({ code: 'SAMPLE_STALE' })
  })
})

describe('a reader or writer of a directory', () => {
  it('does not write through a link planted for a sample', async () => {
    await freshRoot()
    const before = await store()
    await put(before, s0, 1)
    const dir = path.dirname(await onlyObject())
    const outside = await tempDir()
    await rm(dir, { recursive: true })
    await symlink(outside, dir)
    await expect(put(await store(), s0, 2)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await readdir(outside)).toEqual([])
  })

  it('gives its data to a reader that may not make a store', async () => {
    await freshRoot()
    const ref = await put(await store(), s0, 1)
    const reader = await sharedDirFeatureStore({ python, root, retain: true, create: false })
    await using lease = await reader.get(ref)
    expect(await digestsOf(lease.tensors)).toEqual(ref.digests)
    await reader.close()
  })
})

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}
