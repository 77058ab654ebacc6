import { createHash } from 'node:crypto'
import { renameSync } from 'node:fs'
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { type VerifyOptions, type VerifyReport, verifyStore } from '../../../src/store/maintenance/verify-store.ts'
import { care, filesIn, fillStore, objectFile } from '../../support/filled-store.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'

checkHandlesAfterEach()
let root: string
beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
})

async function verified(options: Partial<VerifyOptions> = {}): Promise<VerifyReport> {
  await using store = await care(root)
  const signal = new AbortController().signal
  const usual = { dryRun: false, restart: false, refOf: () => undefined, onProgress: () => undefined, signal }
  return await verifyStore(store.parts, store.files, { ...usual, ...options })
}

/** Flips one bit of the last byte: of a tensor, far behind the header. */
async function damage(file: string): Promise<void> {
  const bytes = await readFile(file)
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
  await writeFile(file, bytes)
}

const at = (refs: readonly SampleRef[], index: number): SampleRef => {
  const ref = refs[index]
  if (ref === undefined) throw new Error(`no ref ${index}`)
  return ref
}

describe('a check of a whole store', () => {
  it('finds a good store good and leaves nothing behind', async () => {
    await fillStore(root, { run: 5 })
    const before = await filesIn(root, '.')
    expect(await verified()).toMatchObject({ objects: 5, before: 0, bad: [] })
    expect(await filesIn(root, '.')).toEqual(before)
  })

  it('moves a bad sample to quarantine with the reason beside it, and only then', async () => {
    const refs = await fillStore(root, { run: 5 })
    const ref = at(refs, 2)
    await damage(await objectFile(root, ref))
    const { bad } = await verified({ dryRun: true, refOf: (key) => refs.find((one) => one.sampleId === key.sampleId) })
    expect(bad).toMatchObject([{ sampleId: ref.sampleId, code: 'SAMPLE_CORRUPT', listed: true }])
    expect(await filesIn(root, 'quarantine')).toEqual([])
    expect((await verified()).bad).toHaveLength(1)
    expect(await filesIn(root, 'objects')).toHaveLength(4)
    const name = `quarantine/${ref.sampleId}.${ref.generation}.safetensors`
    expect(await filesIn(root, 'quarantine')).toEqual([name, `${name}.reason.json`])
    const reason = JSON.parse(await readFile(path.join(root, `${name}.reason.json`), 'utf8'))
    expect(reason).toMatchObject({ code: 'SAMPLE_CORRUPT', by: { pid: process.pid } })
    expect(reason.message).toMatch(/^this stored sample is damaged/)
    expect((await verified()).bad).toEqual([])
  })

  it('finds a good object under the name of another one', async () => {
    const refs = await fillStore(root, { run: 2 })
    const file = await objectFile(root, at(refs, 0))
    const name = 'run:other.77.safetensors'
    const shard = createHash('sha256').update('run:other').digest('hex').slice(0, 2)
    await cp(file, path.join(root, 'objects', shard, name), { recursive: true })
    const { bad } = await verified()
    expect(bad.map(({ sampleId }) => sampleId)).toEqual(['run:other'])
  })

  it('finds an object that is whole and not the one that the manifest lists', async () => {
    const refs = await fillStore(root, { run: 1 })
    const other = at(await fillStore(path.join(root, '../b'), { run: 2 }), 1)
    const digests = other.digests
    const { bad } = await verified({ refOf: () => ({ ...at(refs, 0), digests }) })
    expect(bad).toMatchObject([{ code: 'SAMPLE_CORRUPT', listed: true }])
  })

  it('reports what is not ours and never touches it', async () => {
    const ref = at(await fillStore(root, { run: 1 }), 0)
    const dir = path.dirname(await objectFile(root, ref))
    await writeFile(path.join(dir, 'notes.txt'), 'mine')
    await symlink('/etc/passwd', path.join(dir, 'run:1.5.safetensors'))
    await symlink('/etc', path.join(root, 'backup'))
    await using store = await care(root)
    const found = [...(await store.files.foreignAtTop())]
    for await (const _ of store.files.objects((foreign) => found.push(foreign)));
    expect(found.map(({ file, found: what }) => [path.basename(file), what]).sort()).toEqual([
      ['backup', 'a symbolic link'],
      ['notes.txt', 'a file with a name of its own'],
      ['run:1.5.safetensors', 'a symbolic link'],
    ])
    expect(await verified()).toMatchObject({ objects: 1, bad: [] })
    expect(await readFile(path.join(dir, 'notes.txt'), 'utf8')).toBe('mine')
  })

  it('goes on where it was cut short, and begins anew when asked', async () => {
    await fillStore(root, { run: 40 })
    const stop = new AbortController()
    const onProgress: VerifyOptions['onProgress'] = ({ objects }) => {
      if (objects > 0) stop.abort('SIGINT')
    }
    await expect(verified({ signal: stop.signal, onProgress })).rejects.toBe('SIGINT')
    const rest = await verified()
    expect(rest.objects).toBe(40)
    expect(rest.before).toBeGreaterThan(0)
    expect(rest.before).toBeLessThan(40)
    expect((await verified()).before).toBe(0)
    const again = new AbortController()
    const cut = verified({ signal: again.signal, onProgress: ({ objects }) => objects > 0 && again.abort('SIGINT') })
    await expect(cut).rejects.toBe('SIGINT')
    expect((await verified({ restart: true })).before).toBe(0)
  })

  it('passes over a sample that is freed while it looks', async () => {
    const refs = await fillStore(root, { run: 2 })
    const file = await objectFile(root, at(refs, 0))
    const onProgress: VerifyOptions['onProgress'] = ({ objects }) => {
      // Once all objects are listed, and before the first is read.
      if (objects === 0) renameSync(file, `${root}.gone`)
    }
    expect(await verified({ onProgress })).toMatchObject({ objects: 2, bad: [] })
    expect(await filesIn(root, 'objects')).toHaveLength(1)
    expect(await filesIn(root, 'quarantine')).toEqual([])
  })
})
