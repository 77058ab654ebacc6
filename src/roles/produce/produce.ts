import { embedPython, type Python } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { sharedKinds, traitsOf } from '../../config/store-kinds.ts'
import { finding, hasCode } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { storageError } from '../../core/files/storage-error.ts'
import {
  type Manifest,
  ManifestWriter,
  PRODUCE_CLAIM,
  type RefList,
  readManifestRoot,
  readRefManifest,
  recordFailure,
} from '../../refs/manifest.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { openStore } from '../../store/open.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import { planCapture } from './capture-source.ts'
import type { SourcePlan } from './feature-source.ts'
import { planIngest } from './ingest-source.ts'
import { codeOf, ProducerRun, producedBefore } from './producer-run.ts'

const REFS_AT_ONCE = 100_000

export interface ProduceOptions {
  readonly config: RunConfig
  readonly python: Python
  /** Must retain: a producer that goes on reads what it has put, and a release must not free it. */
  readonly store: FeatureStore
  readonly context: RoleContext
}

/**
 * The producer: features of the target, or those in files, into the shared store; then the manifest. Goes on where an
 * interrupted run of the same work stopped, and returns at once when its manifest is complete.
 */
export async function produce(config: RunConfig, context: RoleContext): Promise<void> {
  if (!traitsOf(config.store).shared) {
    throw finding('CONFIG_INVALID', 'a producer of its own needs a store that others can reach', {
      field: 'store.kind',
      found: config.store.kind,
      fix: `set it to ${sharedKinds}, or run the role \`colocated\``,
    })
  }
  const python = await embedPython()
  await using store = await openStore({ ...config.store, python, retain: true, create: true })
  await produceInto({ config, python, store, context })
}

/** `produce` with a store that the caller owns. `config.manifest` must belong to that store, or not exist yet. */
export async function produceInto(options: ProduceOptions): Promise<Manifest> {
  const { config, store, context } = options
  const started = context.clock.now()
  const about = { dir: config.manifest, runId: config.run.id, storeId: store.id, clock: context.clock, key: store.key }
  try {
    const plan = await planOf(options)
    context.events.emit({ event: 'produce.started', source: config.features.source, total: plan.total })
    const done = await finishedEarlier(options, plan)
    if (done !== null) {
      const seconds = (context.clock.now() - started) / 1000
      const totals = producedBefore(done.refs, plan.total)
      context.events.emit({ event: 'produce.finished', manifest: config.manifest, seconds, ...totals })
      return done
    }
    await makeFolder(config.manifest, 'manifest')
    const { memberId } = store
    // A producer that was taken for dead may wake up: from here on it can put nothing any more.
    const fence = (member: string) => store.fence(member)
    await using _claim = await claimWork(config.manifest, PRODUCE_CLAIM, context, { memberId, fence })
    await using source = await plan.open()
    const { contract } = source
    await using writer = await ManifestWriter.open({ ...about, inputs: plan.inputs, contract, reopen: true })
    await new ProducerRun({ ...options, plan, source, writer, started }).publish()
  } catch (cause) {
    const error = storageError(cause, config.manifest, 'a file or folder of this run')
    // A manifest of other work, or one that another producer writes, is not ours to mark. An interrupted one stays open: the run goes on from it.
    if (!hasCode(error, 'MANIFEST_INVALID', 'INTERRUPTED', 'STORE_BUSY')) {
      await recordFailure({ ...about, code: codeOf(error) }).catch(() => undefined)
    }
    throw error
  }
  return readRefManifest({ dir: config.manifest, storeId: store.id, key: store.key })
}

const planOf = ({ config, python }: ProduceOptions): Promise<SourcePlan> =>
  config.features.source === 'capture' ? planCapture(config, python) : planIngest(config, python)

/** The complete manifest of this very work, all its samples there; found without loading the target's weights. */
async function finishedEarlier({ config, python, store }: ProduceOptions, plan: SourcePlan): Promise<Manifest | null> {
  const root = (await readManifestRoot(config.manifest, store.key))?.root
  if (root?.state !== 'complete' || root.contract === null) return null
  if (root.run_id !== config.run.id || root.store_id !== store.id || root.inputs !== plan.inputs) return null
  const { hash } = await python.call('target.identity', { model: config.target.model })
  if (hash !== root.contract.targetHash) return null
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id, key: store.key })
  const changed = firstIn(manifest.refs, (ref) => !plan.isCurrent(ref))
  // The manifest cannot know what happened to the store since. Samples that are gone are produced again.
  if (changed === undefined) return (await hasAll(store, manifest.refs)) ? manifest : null
  throw finding('MANIFEST_INVALID', 'the manifest is complete, but an input is not the one it was made from', {
    file: String(changed.provenance['from'] ?? config.manifest),
    field: changed.sampleId,
    found: 'a file of another size',
    fix: 'remove the manifest folder to take the files in anew, or give them a `manifest` of their own',
  })
}

function firstIn<T>(items: Iterable<T>, is: (item: T) => boolean): T | undefined {
  for (const item of items) if (is(item)) return item
  return undefined
}

/** Whether every sample is stored. Some at a time: a ref is many times as large in memory as in the manifest. */
async function hasAll(store: FeatureStore, refs: RefList): Promise<boolean> {
  for (let first = 0; first < refs.length; first += REFS_AT_ONCE) {
    const length = Math.min(REFS_AT_ONCE, refs.length - first)
    const some = Array.from({ length }, (_, index) => refs.at(first + index))
    if ((await store.missing(some)).length > 0) return false
  }
  return true
}
