import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { ownNote } from '../../../src/core/liveness/holder-note.ts'
import { SILENT_MS, Watch } from '../../../src/core/liveness/watch.ts'
import { keyText } from '../../../src/store/blob-key.ts'

import { type SweepOptions, type SweepReport, sweep } from '../../../src/store/maintenance/sweep.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { care, filesIn, fillStore, objectFile, openStore, putSample } from '../../support/filled-store.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'

checkHandlesAfterEach()
let root: string
beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
})

const DEAD = 'm00000000000000de'
const elsewhere = JSON.stringify({ ...ownNote({ witness: null }), host: 'elsewhere', pid: 1 })

async function swept(options: Partial<SweepOptions> = {}): Promise<SweepReport> {
  await using store = await care(root)
  return await sweep(store.parts, store.files, { dryRun: false, graceMs: 0, judge: null, ...options })
}

const counts = ({ found }: SweepReport) =>
  Object.fromEntries(Object.entries(found).flatMap(([kind, { count }]) => (count > 0 ? [[kind, count]] : [])))

/** A member whose process is gone, with all that it may leave. Its age is that of its note: this is a fresh one. */
async function leaveThingsOfTheDead(held: { readonly sampleId: string; readonly generation: number }): Promise<void> {
  const key = `${held.sampleId}.${held.generation}`
  for (const folder of ['members', `leases/${key}`, 'claims']) {
    await mkdir(path.join(root, 'notes', folder), { recursive: true })
  }
  await mkdir(path.join(root, 'staging', DEAD))
  await writeFile(path.join(root, 'staging', DEAD, 'half.safetensors'), 'half of an object')
  await writeFile(path.join(root, 'notes/leases', key, DEAD), '')
  await writeFile(path.join(root, 'notes/claims', key), DEAD)
}

describe('a sweep', () => {
  it('finds nothing in a store that was used and closed properly', async () => {
    await fillStore(root, { run: 3 })
    const before = await filesIn(root, 'objects')
    expect(counts(await swept())).toEqual({})
    expect(await filesIn(root, 'objects')).toEqual(before)
    expect([await filesIn(root, 'staging'), await filesIn(root, 'notes/members')]).toEqual([[], []])
  })

  it('removes what a dead process left: staging, leases and claims, and not the sample that it held', async () => {
    const [ref] = await fillStore(root, { run: 1 })
    if (ref === undefined) throw new Error('no ref')
    await leaveThingsOfTheDead(ref)
    const dry = await swept({ dryRun: true })
    const expected = { staging: 1, leases: 1, claims: 1 }
    expect(counts(dry)).toEqual(expected)
    expect(await filesIn(root, 'staging')).toHaveLength(1)
    expect(counts(await swept())).toEqual(expected)
    expect([...(await filesIn(root, 'staging')), ...(await filesIn(root, 'notes/leases'))]).toEqual([])
    // The last turn is nobody's. The notes of claims stay as long as the sample does.
    const turns = await filesIn(root, 'notes/claims')
    expect(await readFile(path.join(root, turns.at(-1) ?? ''), 'utf8')).toBe('nobody')
    expect(await filesIn(root, 'objects')).toHaveLength(1)
    expect(counts(await swept())).toEqual({})
    for (const object of await filesIn(root, 'objects')) await rm(path.join(root, object))
    expect(counts(await swept())).toEqual({})
    expect(await filesIn(root, 'notes/claims')).toEqual([])
  })

  it('leaves the place of a process that is just beginning', async () => {
    await fillStore(root, { run: 1 })
    await mkdir(path.join(root, 'staging', DEAD))
    const report = await swept({ graceMs: 3_600_000 })
    expect([counts(report), report.young]).toEqual([{}, 1])
  })

  it('leaves a member that cannot be seen from here', async () => {
    const [ref] = await fillStore(root, { run: 1 })
    if (ref === undefined) throw new Error('no ref')
    await leaveThingsOfTheDead(ref)
    await writeFile(path.join(root, 'notes/members', DEAD), elsewhere)
    expect(counts(await swept())).toEqual({})
    expect(await filesIn(root, 'staging')).toHaveLength(1)
  })

  it('watches such a member when it may wait, and removes what it left when its heartbeat stands still', async () => {
    const [ref] = await fillStore(root, { run: 1 })
    if (ref === undefined) throw new Error('no ref')
    await leaveThingsOfTheDead(ref)
    await writeFile(path.join(root, 'notes/members', DEAD), elsewhere)
    const time = new FakeMonotonic()
    await using store = await care(root, new Watch({ time }))
    const waits: number[] = []
    const wait = { onWait: ({ leftMs }: { leftMs: number }) => waits.push(leftMs) }
    const report = await sweep(store.parts, store.files, { dryRun: false, graceMs: 0, judge: null, wait })
    expect(counts(report)).toEqual({ staging: 1, leases: 1, claims: 1, members: 1 })
    expect([waits[0], time.now()]).toEqual([SILENT_MS, SILENT_MS])
    const mine = `staging/${store.parts.members.id}`
    expect(await filesIn(root, 'staging')).toEqual([`${mine}/identity-0`, `${mine}/nobody-0`])
  })

  it('frees a generation that a newer one replaced, unless it is claimed or listed', async () => {
    const [old] = await fillStore(root, { run: 1 })
    if (old === undefined) throw new Error('no ref')
    const kept = await tempDir()
    await cp(await objectFile(root, old), path.join(kept, 'old'))
    await using store = await openStore(root)
    await putSample(store, 'run:0', 'run', 9)
    const file = (await filesIn(root, 'objects')).map((name) => path.join(root, path.dirname(name)))[0] ?? ''
    await cp(path.join(kept, 'old'), path.join(file, `${old.sampleId}.${old.generation}.safetensors`))
    expect(counts(await swept({ judge: async () => 'listed' }))).toEqual({})
    const claim = await store.claim(old)
    const held = await swept()
    expect([counts(held), held.held]).toEqual([{}, 1])
    await claim[Symbol.asyncDispose]()
    expect(counts(await swept())).toEqual({ superseded: 1 })
    expect(await filesIn(root, 'objects')).toHaveLength(1)
  })

  it('keeps what a client that consumes reads; one that retains keeps its copy, whatever is freed', async () => {
    const [leased, read] = await fillStore(root, { run: 2 })
    if (leased === undefined || read === undefined) throw new Error('no ref')
    await using retaining = await openStore(root)
    await using consuming = await sharedDirFeatureStore({ python, root })
    await using lease = await consuming.get(leased)
    await using copy = await retaining.get(read)
    for (const dryRun of [true, false]) {
      const report = await swept({ judge: async () => 'orphan', dryRun })
      expect([counts(report), report.held]).toEqual([{ orphans: 1 }, 1])
    }
    expect(await digestsOf(copy.tensors)).toEqual(read.digests)
    expect(await digestsOf(lease.tensors)).toEqual(leased.digests)
    await expect(retaining.get(read)).rejects.toMatchObject({ code: 'SAMPLE_NOT_FOUND' })
  })

  it('frees orphans only when somebody can say what is one, and none that is claimed or young', async () => {
    const refs = await fillStore(root, { run: 3 })
    const listed = new Set(refs.slice(0, 1).map(keyText))
    const judge: SweepOptions['judge'] = async ({ key }) => (listed.has(keyText(key)) ? 'listed' : 'orphan')
    expect(counts(await swept())).toEqual({})
    expect(counts(await swept({ judge, graceMs: 3_600_000 }))).toEqual({})
    expect(counts(await swept({ judge: async () => 'unknown' }))).toEqual({})
    {
      await using store = await openStore(root)
      const orphan = refs[1]
      if (orphan === undefined) throw new Error('no ref')
      await using _ = await store.claim(orphan)
      expect(counts(await swept({ judge, dryRun: true }))).toEqual({ orphans: 1 })
      expect(counts(await swept({ judge }))).toEqual({ orphans: 1 })
      expect(await filesIn(root, 'objects')).toHaveLength(2)
    }
    expect(counts(await swept({ judge }))).toEqual({ orphans: 1 })
    expect(await filesIn(root, 'objects')).toHaveLength(1)
  })

  it('removes linked files without an object and content that nobody uses, and keeps what is used', async () => {
    const [ref] = await fillStore(root, { run: 1 })
    if (ref === undefined) throw new Error('no ref')
    const shard = path.basename(path.dirname(await objectFile(root, ref)))
    await mkdir(path.join(root, 'extern', shard), { recursive: true })
    await mkdir(path.join(root, 'content', 'aa'), { recursive: true })
    await writeFile(path.join(root, 'extern', shard, `${ref.sampleId}.${ref.generation}.bin`), 'used')
    await writeFile(path.join(root, 'extern', shard, `${ref.sampleId}.${ref.generation + 1}.bin`), 'of nobody')
    await writeFile(path.join(root, 'content/aa', `${'a'.repeat(32)}.bin`), 'of nobody')
    expect(counts(await swept({ graceMs: 3_600_000 }))).toEqual({})
    expect(counts(await swept())).toEqual({ extern: 1, content: 1 })
    expect(await filesIn(root, 'extern')).toHaveLength(1)
  })

  it('puts the books of the quota right', async () => {
    await using store = await openStore(root, 1e9)
    const ref = await putSample(store, 'run:0')
    const { bytes } = await store.usage()
    await writeFile(path.join(root, 'notes/space/usage'), JSON.stringify({ ...lost, bytes: bytes * 5 }))
    await swept()
    expect(await store.usage()).toEqual({ bytes, quota: 1e9 })
    expect(keyText(ref)).toContain('run:0')
  })
})

const lost = { version: 1, counted: 7, quota: 1e9, reserved: { [DEAD]: 12345 } }
