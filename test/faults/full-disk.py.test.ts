import { writeFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { smallDisk } from '../../scripts/faults/full-disk.ts'
import { cleanStore } from '../../src/roles/maintain/store-gc.ts'
import { removeRun } from '../../src/roles/maintain/store-rm.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, s0, s1, sample } from '../contract/subject.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'

checkHandlesAfterEach()

const mounted: AsyncDisposable[] = []
afterEach(async () => {
  for (const disk of mounted.splice(0)) await disk[Symbol.asyncDispose]()
})

/** A disk that can be filled until there is no room for a file, or for a byte. */
const kinds = [
  { name: 'no room for one more file', mebibytes: 16, files: 150 },
  { name: 'no room for one more byte', mebibytes: 1, files: undefined },
]

async function disk({ mebibytes, files }: (typeof kinds)[number], skip: (why: string) => never): Promise<string> {
  const made = await smallDisk(mebibytes, files)
  if (typeof made === 'string') return skip(made)
  mounted.push(made)
  return path.join(made.dir, 'store')
}

/** Somebody else takes every file and byte that is left. */
function fill(root: string): void {
  for (let index = 0; index < 5000; index += 1) {
    try {
      writeFileSync(path.join(path.dirname(root), `filler-${index}`), Buffer.alloc(index < 500 ? 4096 : 0))
    } catch {
      return
    }
  }
}

const open = (root: string, retain: boolean) => sharedDirFeatureStore({ python, root, retain, durability: 'fast' })

async function put(root: string, ids = [s0, s1], retain = true) {
  await using store = await open(root, retain)
  const refs = []
  for (const [seed, id] of ids.entries()) {
    await using set = await sample(seed)
    refs.push(await store.put(id, set, about))
  }
  return refs
}

const objectsIn = async (root: string) =>
  (await readdir(path.join(root, 'objects'), { recursive: true })).filter((name) => name.endsWith('.safetensors'))

const signal = new AbortController().signal
const locationOf = (root: string) => ({ root, config: null, keyFile: null, onPython: () => undefined })
const rmOf = (root: string) =>
  removeRun(locationOf(root), { run: 'run', dryRun: false, force: false, signal, agree: async () => true })
const gcOf = (root: string) => cleanStore(locationOf(root), { manifests: [], graceMs: 0, dryRun: false, signal })

describe.each(kinds)('on a disk with $name', (kind) => {
  it('`store gc` runs, and `store rm` frees what it is asked to free', async (context) => {
    const root = await disk(kind, context.skip)
    await put(root)
    fill(root)
    for (let round = 0; round < 2; round += 1) expect(await gcOf(root)).toMatchObject({ held: 0 })
    expect(await objectsIn(root)).toHaveLength(2)
    expect(await rmOf(root)).toMatchObject({ removed: 2, kept: 0 })
    expect(await objectsIn(root)).toEqual([])
    // Nothing that it needed meanwhile is left, and the next one finds the reserve again.
    expect(await readdir(path.join(root, 'staging'))).toEqual([])
    expect((await readdir(path.join(root, 'reserve'))).length).toBeGreaterThan(8)
  })

  it('`store rm` frees more samples than it handles at once', async (context) => {
    const root = await disk(kind, context.skip)
    const ids = Array.from({ length: 40 }, (_, index) => `run:${index}` as typeof s0)
    await put(root, ids)
    fill(root)
    expect(await rmOf(root)).toMatchObject({ removed: 40 })
    expect(await objectsIn(root)).toEqual([])
  })

  it('`store rm` frees in a store that has no reserve', async (context) => {
    const root = await disk(kind, context.skip)
    await put(root)
    await rm(path.join(root, 'reserve'), { recursive: true })
    fill(root)
    expect(await rmOf(root)).toMatchObject({ removed: 2 })
    expect(await objectsIn(root)).toEqual([])
  })

  it('the last release frees the sample', async (context) => {
    const root = await disk(kind, context.skip)
    const [ref] = await put(root, [s0], false)
    await using store = await open(root, false)
    if (ref === undefined) throw new Error('no ref')
    const lease = await store.get(ref)
    fill(root)
    await lease[Symbol.asyncDispose]()
    expect(await store.missing([ref])).toEqual([ref])
    expect(await objectsIn(root)).toEqual([])
  })

  it('an acknowledgement counts, and frees the sample', async (context) => {
    const root = await disk(kind, context.skip)
    const [ref] = await put(root, [s0], false)
    await using store = await open(root, false)
    if (ref === undefined) throw new Error('no ref')
    const claim = await store.claim(ref)
    fill(root)
    await claim.acknowledge()
    expect(await objectsIn(root)).toEqual([])
  })

  it('a process that starts now aborts and quarantines', async (context) => {
    const root = await disk(kind, context.skip)
    const [, second] = await put(root)
    fill(root)
    await using store = await open(root, true)
    await store.abort(s0)
    fill(root)
    if (second === undefined) throw new Error('no ref')
    await store.quarantine(second, 'SAMPLE_CORRUPT: a test')
    expect(await objectsIn(root)).toEqual([])
    expect((await readdir(path.join(root, 'quarantine'))).filter((name) => name.endsWith('.safetensors'))).toHaveLength(
      1,
    )
  })
})

it('a put does not use the reserve', async (context) => {
  const root = await disk({ name: '', mebibytes: 16, files: 150 }, context.skip)
  await put(root, [s0])
  fill(root)
  const before = (await readdir(path.join(root, 'reserve'))).length
  await using set = await sample(1)
  await using store = await open(root, true)
  await expect(store.put(s1, set, about)).rejects.toMatchObject({ code: 'STORE_FULL', exitCode: 75 })
  await store.close()
  // The note of the member goes after its folder, and takes the place of one file until somebody enters again.
  expect((await readdir(path.join(root, 'reserve'))).length).toBeGreaterThanOrEqual(before - 1)
})
