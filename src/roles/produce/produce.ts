import { existsSync } from 'node:fs'
import { embedPython, type Python } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { sharedKinds, traitsOf } from '../../config/store-kinds.ts'
import { finding, hasCode } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { monotonic } from '../../core/liveness/monotonic.ts'
import type { Part } from '../../core/part.ts'
import {
  type Manifest,
  ManifestWriter,
  manifestFile,
  manifestLayout,
  type PartSoFar,
  PRODUCE_CLAIM,
  partFolder,
  partStates,
  type RefList,
  type RootKey,
  readManifestRoot,
  readRefManifest,
  recordFailure,
  requireFitting,
} from '../../refs/manifest.ts'
import { NEW_WORK } from '../../refs/new-work.ts'
import { type EventBody, ofPart } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { openStore } from '../../store/open.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import type { SourcePlan } from './feature-source.ts'
import { planIngest } from './ingest-source.ts'
import { planCapture } from './plan-capture.ts'
import { codeOf, ProducerRun } from './producer-run.ts'
import { totalsOfComplete } from './producer-totals.ts'

const REFS_PER_CHECK = 100_000

export interface ProduceOptions {
  readonly config: RunConfig
  readonly python: Python
  /** Must have been opened with `retain: true`: a resumed producer reads samples it has put, and must not free them. */
  readonly store: FeatureStore
  readonly context: RoleContext
  /** Only this part of the inputs. Default: all. */
  readonly part?: Part | null
  /** What to produce, where the caller has looked at the inputs already. */
  readonly plan?: Promise<SourcePlan>
}

/** How far a manifest is when a producer ends. `parts`: null where it is the manifest of one producer. */
export interface Produced {
  readonly parts: readonly PartSoFar[] | null
}

/**
 * The producer: captures features or ingests feature files into the shared store, and publishes the manifest. Resumes
 * an interrupted run of the same work. Returns at once when the manifest is already complete. With `part` it does this for
 * one part of the inputs, in a folder of its own below that of the manifest.
 */
export async function produce(config: RunConfig, context: RoleContext, part: Part | null = null): Promise<Produced> {
  if (!traitsOf(config.store).shared) {
    throw finding('CONFIG_INVALID', 'the role `produce` needs a store that other processes can open', {
      field: 'store.kind',
      found: config.store.kind,
      fix: `set it to ${sharedKinds}, or run the role \`colocated\``,
    })
  }
  const python = await embedPython()
  const plan = planOf({ config, python, part })
  // Inputs that cannot be read leave no empty store behind.
  const isPlanned = await plan.then(
    () => true,
    () => false,
  )
  const opening = openStore({ ...config.store, python, retain: true, create: isPlanned })
  await using store = await opening.catch(async (error: unknown) => {
    await plan
    throw error
  })
  await produceInto({ config, python, store, context, part, plan })
  return part === null ? { parts: null } : { parts: await partsOf(config.manifest, store.key) }
}

async function partsOf(dir: string, key: RootKey | null): Promise<readonly PartSoFar[]> {
  const layout = await manifestLayout(dir, key)
  return layout.kind === 'parts' ? partStates(layout.count, layout.begun) : []
}

/** `produce` with a store that the caller owns. The manifest must belong to that store, or not exist yet. */
export async function produceInto(given: ProduceOptions): Promise<Manifest> {
  const options = inFolderOfPart(given)
  const { config, store, context } = options
  const { time = monotonic } = context
  const started = time.now()
  let begun = false
  const part = options.part ?? undefined
  const place = { dir: config.manifest, part, key: store.key }
  const about = { ...place, runId: config.run.id, storeId: store.id, clock: context.clock }
  try {
    // Before the target is loaded, which may take minutes.
    await requireFitting(place, null)
    const plan = await (options.plan ?? planOf(options))
    context.events.emit({ event: 'produce.started', source: config.features.source, total: plan.total })
    if (plan.found !== undefined) context.events.emit(plan.found)
    const complete = await completeManifest(options, plan)
    if (complete !== null) {
      const seconds = (time.now() - started) / 1000
      const totals = totalsOfComplete(complete, plan.total)
      context.events.emit({ event: 'produce.finished', manifest: config.manifest, seconds, ...totals })
      // Again, because the producer that completed it may have ended before it could say so.
      await store.protect(await manifestFile(config.manifest))
      return complete
    }
    await makeFolder(config.manifest, 'manifest')
    begun = true
    const { memberId } = store
    // An earlier producer that was declared dead may still be running. A fence stops all its further puts.
    const fence = (member: string) => store.fence(member)
    await using _claim = await claimWork(config.manifest, PRODUCE_CLAIM, context, { memberId, fence })
    await using source = await plan.open()
    const { contract } = source
    await using writer = await ManifestWriter.open({ ...about, inputs: plan.inputs, contract, reopen: true })
    const manifest = await manifestFile(config.manifest)
    await new ProducerRun({ ...options, plan, source, writer, manifest, time, started }).publish()
    await store.protect(manifest)
  } catch (cause) {
    const error = storageError(cause, config.manifest, 'a file or folder of this run')
    // The failure must not be recorded in a manifest of other work or of another active producer. After an interruption
    // the manifest stays open, so that the next run can resume it.
    const isOthers = hasCode(error, 'MANIFEST_INVALID', 'INTERRUPTED', 'STORE_BUSY')
    // A folder that is gone was on a mount that is gone: none may be made in its place.
    if (!isOthers && (!begun || existsSync(config.manifest))) {
      await recordFailure({ ...about, code: codeOf(error) }).catch(() => undefined)
    }
    throw error
  }
  return readRefManifest({ dir: config.manifest, storeId: store.id, key: store.key })
}

/** The same options, with the folder and the events of the part. */
function inFolderOfPart(options: ProduceOptions): ProduceOptions {
  const { part = null, config, context } = options
  if (part === null) return options
  const emit = (body: EventBody) => context.events.emit(ofPart(body, part))
  const manifest = partFolder(config.manifest, part.index)
  return { ...options, config: { ...config, manifest }, context: { ...context, events: { emit } } }
}

const planOf = ({
  config,
  python,
  part = null,
}: Pick<ProduceOptions, 'config' | 'python' | 'part'>): Promise<SourcePlan> =>
  config.features.source === 'capture' ? planCapture(config, python, part) : planIngest(config, python, part)

/**
 * The manifest, if it is complete, was made from the same inputs, and all its samples are stored; otherwise null. Does
 * not load the target's weights.
 */
async function completeManifest({ config, python, store }: ProduceOptions, plan: SourcePlan): Promise<Manifest | null> {
  const root = (await readManifestRoot(config.manifest, store.key))?.root
  if (root?.state !== 'complete' || root.contract === null) return null
  if (root.run_id !== config.run.id || root.store_id !== store.id || root.inputs !== plan.inputs) return null
  const { model, tokenizer } = config.target
  const { hash, templateHash } = await python.call('target.identity', { model, tokenizer })
  if (hash !== root.contract.targetHash) return null
  // With another template the conversations are other samples: the contract that the target gives is compared then.
  const isCapture = config.features.source === 'capture'
  if (isCapture && templateHash !== null && templateHash !== root.contract.templateHash) return null
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id, key: store.key })
  const changed = findIn(manifest.refs, (ref) => !plan.isCurrent(ref))
  // Samples may have been deleted from the store since. The producer makes missing samples again.
  if (changed === undefined) return (await hasAll(store, manifest.refs)) ? manifest : null
  throw finding('MANIFEST_INVALID', 'the manifest is complete, but one of its inputs has changed', {
    file: String(changed.provenance['from'] ?? config.manifest),
    field: changed.sampleId,
    found: 'a file with another size than when it was ingested',
    fix: `to ingest all files again, remove the manifest folder; to keep what it lists, ${NEW_WORK}`,
  })
}

function findIn<T>(items: Iterable<T>, matches: (item: T) => boolean): T | undefined {
  for (const item of items) if (matches(item)) return item
  return undefined
}

/** Whether every sample is stored. Checked in parts: a parsed ref takes many times the memory of its line. */
async function hasAll(store: FeatureStore, refs: RefList): Promise<boolean> {
  for (let first = 0; first < refs.length; first += REFS_PER_CHECK) {
    const length = Math.min(REFS_PER_CHECK, refs.length - first)
    const part = Array.from({ length }, (_, index) => refs.at(first + index))
    if ((await store.missing(part)).length > 0) return false
  }
  return true
}
