import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { ManifestWriter } from '../../src/refs/manifest.ts'
import { draftbridge } from '../support/cli.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { filesIn, fillStore, objectFile, openStore } from '../support/filled-store.ts'
import { exampleContract } from '../support/refs.ts'
import { tempDir } from '../support/temp-dir.ts'

let root: string
beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
})

/** A command on the store of this test. */
const store = (...args: string[]) => draftbridge('store', ...args, '--store', root)

async function publish(refs: readonly SampleRef[], complete: boolean): Promise<string> {
  const dir = path.join(root, '../manifest')
  const [first] = refs
  if (first === undefined) throw new Error('nothing to publish')
  const { runId, storeId } = first
  const writer = await ManifestWriter.open({
    ...{ dir, runId, storeId, contract: exampleContract, inputs: 'these', clock: new FakeClock() },
  })
  for (const ref of refs) writer.append(ref)
  if (complete) await writer.complete([[7, 1]])
  else await writer.flush()
  await writer[Symbol.asyncDispose]()
  return dir
}

/** Bytes counted against the quota. Opening the store with a quota starts the accounting. */
async function usage(): Promise<number> {
  await using open = await openStore(root, 1e9)
  return (await open.usage()).bytes
}

async function damaged(ref: SampleRef): Promise<void> {
  const file = await objectFile(root, ref)
  const bytes = await readFile(file)
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
  await writeFile(file, bytes)
}

describe('store ls', () => {
  it('sums up runs, and lists runs or samples as JSON lines', async () => {
    await fillStore(root, { one: 2, two: 3 })
    const { code, stdout } = await store('ls', '--json')
    const { runs, usage, members } = JSON.parse(stdout)
    expect([code, usage, members]).toEqual([0, null, { living: 0, dead: 0 }])
    expect(runs).toMatchObject([
      { run: 'one', samples: 2, generations: 2, leases: 0, claims: 0 },
      { run: 'two', samples: 3 },
    ])
    const ofRuns = (await store('ls', '--json-lines')).stdout.trim().split('\n')
    expect(ofRuns.map((line) => JSON.parse(line))).toEqual(runs)
    const lines = (await store('ls', '--samples', '--json-lines')).stdout.trim().split('\n')
    const ids = lines.map((line) => JSON.parse(line).sampleId).sort()
    expect(ids).toEqual(['one:0', 'one:1', 'two:0', 'two:1', 'two:2'])
  }, 120_000)

  it('shows who holds samples, and joins no member', async () => {
    const [ref] = await fillStore(root, { one: 2 })
    if (ref === undefined) throw new Error('no ref')
    await using open = await openStore(root, 1e9)
    await using _ = await open.claim(ref)
    const { stdout } = await store('ls', '--json')
    const { runs, members } = JSON.parse(stdout)
    expect([runs[0].leases, runs[0].claims, members]).toEqual([0, 1, { living: 1, dead: 0 }])
    const rows = (await store('ls', '--samples')).stdout.split('\n').map((line) => line.split('\t'))
    const holders = Object.fromEntries(rows.map(([name, ...cells]) => [name, cells[3]]))
    const by = expect.stringMatching(new RegExp(`^claimed by process ${process.pid} on \\S+ \\(m[0-9a-f]{16}\\)$`))
    expect(holders).toMatchObject({ [`one:0@${ref.generation}`]: by })
    expect(Object.values(holders).filter((holder) => holder === '')).toHaveLength(1)
    expect(await filesIn(root, 'notes/members')).toHaveLength(1)
  }, 120_000)

  it('fails where there is no store, and creates none', async () => {
    const { code, stderr } = await store('ls')
    expect([code, stderr]).toEqual([69, expect.stringContaining('there is no feature store here')])
  }, 120_000)
})

describe('store verify', () => {
  it('exits 65 with the bad samples and the refs that point at them, as long as a manifest lists them', async () => {
    const refs = await fillStore(root, { one: 4 })
    const dir = await publish(refs, true)
    if (refs[2] === undefined) throw new Error('no ref')
    await damaged(refs[2])
    const { code, stdout } = await store('verify', '--manifest', dir, '--json')
    const { ok, bad, objects } = JSON.parse(stdout)
    expect([code, ok, objects]).toEqual([65, false, 4])
    expect(bad).toMatchObject([{ sampleId: 'one:2', code: 'SAMPLE_CORRUPT', listed: true }])
    const again = await store('verify', '--manifest', dir)
    expect([again.code, again.stderr]).toEqual([65, expect.stringContaining('missing: one:2@')])
    expect(again.stderr).toContain('BAD: 3 samples read, 0 bad, 1 missing: run the producer again')
    const alone = await store('verify')
    expect([alone.code, alone.stderr]).toEqual([0, expect.stringContaining('good: 3 samples read, 0 bad')])
  }, 120_000)
})

describe('store gc', () => {
  it('removes orphans of a complete manifest and of no other run', async () => {
    const refs = await fillStore(root, { one: 3, two: 2 })
    const dir = await publish(refs.slice(0, 2), true)
    const kept = async () => (await filesIn(root, 'objects')).length
    const dry = await store('gc', '--manifest', dir, '--grace', '0s', '--dry-run', '--json')
    expect(JSON.parse(dry.stdout)).toMatchObject({ found: { orphans: { count: 1 } }, unknown: 2 })
    expect(await kept()).toBe(5)
    const young = await store('gc', '--manifest', dir, '--json')
    expect(JSON.parse(young.stdout)).toMatchObject({ found: { orphans: { count: 0 } }, young: 1 })
    expect((await store('gc', '--manifest', dir, '--grace', '0s')).code).toBe(0)
    expect(await kept()).toBe(4)
  }, 120_000)

  it('keeps the samples of a run whose manifest is not complete', async () => {
    const refs = await fillStore(root, { one: 3 })
    const dir = await publish(refs.slice(0, 1), false)
    const { stdout } = await store('gc', '--manifest', dir, '--grace', '0s')
    expect(stdout).toMatch(/kept the samples of the run of .*: this manifest is not complete/)
    expect(await filesIn(root, 'objects')).toHaveLength(3)
  }, 120_000)

  it('rejects a grace that is not a time', async () => {
    expect(await store('gc', '--grace', 'soon')).toMatchObject({ code: 2, stderr: expect.stringContaining("'soon'") })
  }, 120_000)
})

describe('store rm', () => {
  it('removes the samples of one run and subtracts their bytes from the usage', async () => {
    await fillStore(root, { one: 3, two: 2 })
    const before = await usage()
    const dry = await store('rm', 'one', '--dry-run', '--json')
    expect(JSON.parse(dry.stdout)).toMatchObject({ run: 'one', removed: 3 })
    expect(await filesIn(root, 'objects')).toHaveLength(5)
    expect((await store('rm', 'one', '--yes')).code).toBe(0)
    expect(await filesIn(root, 'objects')).toHaveLength(2)
    expect(await usage()).toBe((before * 2) / 5)
  }, 120_000)

  it('fails while a running process holds a sample of the run, or has the store open', async () => {
    const [ref] = await fillStore(root, { one: 2 })
    if (ref === undefined) throw new Error('no ref')
    await using open = await openStore(root)
    const busy = await store('rm', 'one', '--yes')
    expect([busy.code, busy.stderr]).toEqual([75, expect.stringContaining(`process ${process.pid}`)])
    await using _ = await open.claim(ref)
    const held = await store('rm', 'one', '--yes', '--force')
    expect([held.code, held.stderr]).toEqual([75, expect.stringContaining('run one cannot be removed')])
    expect(await filesIn(root, 'objects')).toHaveLength(2)
  }, 120_000)
})
