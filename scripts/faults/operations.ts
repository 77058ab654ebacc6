import { copyFile, mkdir, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { embedPython } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import type { FeatureSpec } from '../../src/core/feature-spec.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import { Watch } from '../../src/core/liveness/watch.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { ingestOfflineFeatures } from '../../src/roles/produce/ingest-offline-features.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { type SweepReport, sweep } from '../../src/store/maintenance/sweep.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { openStoreForMaintenance } from '../../src/store/open-for-maintenance.ts'
import { writeFeatureFile, writeTarget } from './feature-file.ts'
import { filesBelow } from './files-below.ts'

/** What a crash may do to a sample that was published before the operation began. */
export type Fate =
  /** Nothing: it reads back. */
  | 'kept'
  /** It reads back, or a later generation of it does. */
  | 'replaced'
  /** It reads back, or is cleanly gone. */
  | 'freed'

export interface Before {
  readonly refs: readonly { readonly ref: SampleRef; readonly fate: Fate }[]
}

/** Something a process does to a store. `prepare` and `run` use `store`, `manifest`, `files` and `target` below `dir`. */
export interface Operation {
  readonly prepare: (dir: string) => Promise<Before>
  readonly run: (dir: string, before: Before) => Promise<void>
}

export const KEPT = SampleId.parse('run:kept')
export const SUBJECT = SampleId.parse('run:subject')
/** A member that was killed before the operation begins. */
export const DEAD = 'm0123456789abcdef'
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }
const specs: FeatureSpec[] = [
  { name: 'input_ids', shape: [6], dtype: 'int64' },
  { name: 'loss_mask', shape: [6], dtype: 'int64' },
  { name: 'hidden_state', shape: [6, 8], dtype: 'bfloat16' },
  { name: 'aux_hidden_state', shape: [6, 24], dtype: 'bfloat16' },
]

export async function openStore(dir: string, retain: boolean): Promise<FeatureStore> {
  return sharedDirFeatureStore({ python: await embedPython(), root: path.join(dir, 'store'), retain })
}

/** The same bytes for the same seed. */
export async function putSample(store: FeatureStore, id: SampleId, seed: number): Promise<SampleRef> {
  const python = await embedPython()
  await using tensors = new TensorSet(python, await python.call('tensor.synthesize', { seed, features: specs }))
  return await store.put(id, tensors, about)
}

/** An operation on a store that already holds two samples. Each run opens the store again. */
function onStore(fate: Fate, run: (store: FeatureStore, subject: SampleRef) => Promise<unknown>): Operation {
  return {
    prepare: async (dir) => {
      await using store = await openStore(dir, true)
      const refs = [
        { ref: await putSample(store, KEPT, 1), fate: 'kept' as const },
        { ref: await putSample(store, SUBJECT, 2), fate },
      ]
      return { refs }
    },
    run: async (dir, { refs }) => {
      const subject = refs.find(({ ref }) => ref.sampleId === SUBJECT)?.ref
      if (subject === undefined) throw new Error('prepared without a subject')
      await using store = await openStore(dir, false)
      await run(store, subject)
    },
  }
}

/** Makes what killed processes may leave: an unpublished object, and one that a newer put replaced. */
async function withLeftovers(dir: string): Promise<Before> {
  const kept = await onStore('freed', async () => undefined).prepare(dir)
  const root = path.join(dir, 'store')
  const place = path.join(root, 'staging', DEAD)
  await mkdir(place)
  await writeFile(path.join(place, 'half.safetensors'), 'half')
  const old = (await filesBelow(path.join(root, 'objects'))).find((name) => name.includes(`${SUBJECT}.`))
  const file = path.join(root, 'objects', old ?? 'nothing')
  const aside = path.join(dir, 'aside')
  await copyFile(file, aside)
  await using store = await openStore(dir, true)
  const ref = await putSample(store, SUBJECT, 3)
  await rename(aside, file)
  return { refs: [...kept.refs, { ref, fate: 'kept' }] }
}

/**
 * `store gc` without a grace. A member that ended in order but could not remove its note has no witness any more, so its
 * heartbeat is watched, but not for long.
 */
export async function sweepAll(dir: string): Promise<SweepReport> {
  const python = await embedPython()
  const watch = new Watch({ silentMs: 1 })
  const given = { python, root: path.join(dir, 'store'), auth: { mode: 'none' }, watch } as const
  await using store = await openStoreForMaintenance(given)
  return await sweep(store.parts, store.files, { dryRun: false, graceMs: 0, judge: null, wait: {} })
}

const ingest = async (dir: string): Promise<void> => {
  await using store = await openStore(dir, true)
  const at = (name: string) => path.join(dir, name)
  await ingestOfflineFeatures({
    files: at('files'),
    target: at('target'),
    store,
    manifest: at('manifest'),
    runId: 'run',
  })
}

export const operations: Readonly<Record<string, Operation>> = {
  'create a store': {
    prepare: async () => ({ refs: [] }),
    run: async (dir) => (await openStore(dir, true)).close(),
  },
  'first put': {
    prepare: async () => ({ refs: [] }),
    run: async (dir) => {
      await using store = await openStore(dir, true)
      await putSample(store, SUBJECT, 2)
    },
  },
  're-put': onStore('replaced', (store) => putSample(store, SUBJECT, 3)),
  abort: onStore('freed', (store) => store.abort(SUBJECT)),
  'last release': onStore('freed', async (store, subject) => {
    await (await store.get(subject))[Symbol.asyncDispose]()
  }),
  'claim, then acknowledge': onStore('freed', async (store, subject) => {
    await using claim = await store.claim(subject)
    await claim.acknowledge()
  }),
  'claim, then give back': onStore('kept', async (store, subject) => {
    await (await store.claim(subject))[Symbol.asyncDispose]()
  }),
  quarantine: onStore('freed', (store, subject) => store.quarantine(subject, 'a fault was injected')),
  gc: {
    prepare: withLeftovers,
    run: async (dir) => {
      await sweepAll(dir)
    },
  },
  'ingest of 2 files, manifest published': {
    prepare: async (dir) => {
      await mkdir(path.join(dir, 'files'))
      await writeTarget(path.join(dir, 'target'))
      // Python's imports for this operation happen here, where nothing is traced.
      await (await embedPython()).call('target.describe', { model: path.join(dir, 'target') })
      for (const tokens of [5, 7]) await writeFeatureFile(path.join(dir, 'files', `${tokens}.safetensors`), tokens)
      await using store = await openStore(dir, true)
      return { refs: [{ ref: await putSample(store, KEPT, 1), fate: 'kept' }] }
    },
    run: ingest,
  },
}
