import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { hasCode } from '../../src/core/errors.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { readManifestRoot, readRefManifest } from '../../src/refs/manifest.ts'
import { keyText } from '../../src/store/blob-key.ts'

import type { FeatureStore } from '../../src/store/feature-store.ts'
import { filesBelow } from './files-below.ts'
import { type Before, openStore, operations, putSample, SUBJECT, sweepAll } from './operations.ts'
import { visibleRefs } from './visible-objects.ts'

/** The promises that a later process finds broken in `dir`. None, if the store keeps its promises. */
export async function brokenPromises(dir: string, operation: string, before: Before): Promise<readonly string[]> {
  const broken: string[] = []
  const expect = async (promise: string, task: () => Promise<string | null>): Promise<void> => {
    const found = await task().catch((error: unknown) => (error instanceof Error ? error.message : String(error)))
    if (found !== null) broken.push(`${promise}: ${found}`)
  }
  const root = path.join(dir, 'store')
  await expect('a store opens after a crash', async () => {
    await using store = await openStore(dir, true)
    await expect('every object that can be seen is whole', () => allReadable(store, root, before))
    for (const { ref, fate } of before.refs) {
      await expect(`a sample that is ${fate}`, () => fateOf(store, root, ref, fate))
    }
    await expect('a published manifest is whole', () => manifestReadable(store, dir))
    await expect('a new put works', async () => {
      const ref = await putSample(store, SUBJECT, 9)
      return (await isReadable(store, ref)) ? null : 'the new put is not there'
    })
    return null
  })
  await expect('the operation can be done again', () => again(dir, operation, before))
  await expect('gc leaves nothing over', () => leftOver(dir, root, before))
  return broken
}

async function isReadable(store: FeatureStore, ref: SampleRef): Promise<boolean> {
  try {
    await (await store.get(ref))[Symbol.asyncDispose]()
    return true
  } catch (error) {
    if (hasCode(error, 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE')) return false
    throw error
  }
}

// An object whose removal has begun may stay for a while; a get already says that it is gone.
async function allReadable(store: FeatureStore, root: string, { refs }: Before): Promise<string | null> {
  const freed = refs.filter(({ fate }) => fate === 'freed').map(({ ref }) => keyText(ref))
  for (const ref of await visibleRefs(root)) {
    if (!(await isReadable(store, ref)) && !freed.includes(keyText(ref)))
      return `${ref.sampleId}@${ref.generation} is listed and not found`
  }
  return null
}

async function fateOf(store: FeatureStore, root: string, ref: SampleRef, fate: string): Promise<string | null> {
  if (await isReadable(store, ref)) return null
  if (fate === 'freed') return null
  const later = (await visibleRefs(root)).find(
    (each) => each.sampleId === ref.sampleId && each.generation > ref.generation,
  )
  return fate === 'replaced' && later !== undefined ? null : `${ref.sampleId}@${ref.generation} is gone`
}

async function manifestReadable(store: FeatureStore, dir: string): Promise<string | null> {
  const manifest = path.join(dir, 'manifest')
  if ((await readManifestRoot(manifest))?.root.state !== 'complete') return null
  for (const ref of (await readRefManifest({ dir: manifest, storeId: store.id })).refs) {
    if (!(await isReadable(store, ref))) return `${ref.sampleId}@${ref.generation} is listed and gone`
  }
  return null
}

/** Repeats the operation, as a user would after a kill. It must succeed, unless its sample was consumed already. */
async function again(dir: string, operation: string, before: Before): Promise<string | null> {
  const task = operations[operation]
  if (task === undefined) throw new Error(`no operation ${operation}`)
  try {
    await task.run(dir, before)
  } catch (error) {
    if (!hasCode(error, 'SAMPLE_NOT_FOUND', 'SAMPLE_STALE')) throw error
  }
  if (!operation.startsWith('ingest')) return null
  await using store = await openStore(dir, true)
  const { refs } = await readRefManifest({ dir: path.join(dir, 'manifest'), storeId: store.id })
  const gone = await store.missing([...refs])
  return refs.length === 2 && gone.length === 0 ? null : `${refs.length} refs, ${gone.length} of them gone`
}

async function leftOver(dir: string, root: string, before: Before): Promise<string | null> {
  await sweepAll(dir)
  const staged = await readdir(path.join(root, 'staging'))
  if (staged.length > 0) return `in staging: ${staged.join(', ')}`
  const notes = (await filesBelow(path.join(root, 'notes'))).filter((name) => /^(members|leases|claims)/.test(name))
  if (notes.length > 0) return `notes: ${notes.join(', ')}`
  const objects = await filesBelow(path.join(root, 'objects'))
  const samples = new Set(objects.map((name) => path.basename(name).replace(/\.\d+\.safetensors$/, '')))
  if (samples.size !== objects.length) return `several generations: ${objects.join(', ')}`
  const stems = new Set(objects.map((name) => name.replace(/safetensors$/, '')))
  const orphans = (await filesBelow(path.join(root, 'extern'))).filter((name) => !stems.has(name.replace(/bin$/, '')))
  if (orphans.length > 0) return `without an object: ${orphans.join(', ')}`
  await using store = await openStore(dir, true)
  const broken = await allReadable(store, root, { refs: [] })
  if (broken !== null) return broken
  for (const { ref, fate } of before.refs) {
    if (fate === 'kept' && ref.sampleId !== SUBJECT && !(await isReadable(store, ref)))
      return `${keyText(ref)} was swept`
  }
  const stored = (await bytesBelow(path.join(root, 'objects'))) + (await bytesBelow(path.join(root, 'extern')))
  const { bytes } = await store.usage()
  return bytes === stored ? null : `${bytes} bytes are counted, and ${stored} are there`
}

async function bytesBelow(dir: string): Promise<number> {
  const files = await filesBelow(dir)
  const sizes = await Promise.all(files.map(async (name) => (await stat(path.join(dir, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
