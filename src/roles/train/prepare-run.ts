import { createHash } from 'node:crypto'
import path from 'node:path'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import { trainIdentity } from '../../core/settings/train-settings.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { type DraftArchitecture, type DraftConfig, expectedShapes } from '../../drafts/architecture.ts'
import { architectureOf } from '../../drafts/registry.ts'
import type { Manifest, RefList } from '../../refs/manifest.ts'
import { type Checkpoint, CheckpointFolder } from '../../train/checkpoints/checkpoint.ts'
import { canonical, type RunIdentity, requireSameRun } from '../../train/checkpoints/checkpoint-record.ts'
import { type BatchPlan, batchPlan } from '../../train/data/batch-plan.ts'
import type { Refs } from '../../train/data/sample-reader.ts'
import { resolveDraftConfig } from './draft-config-file.ts'
import { type SampleSet, split } from './held-out-set.ts'

/** Features to train on, wherever they live: refs and what is known of how they were made. No tensors. */
export interface TrainingData {
  readonly refs: RefList
  readonly contract: CaptureContract
  /** `token-counts.ndjson` of each part: how often each token is trained, from which the draft vocabulary is chosen. */
  readonly countsFiles: readonly string[]
  /** Null where no manifest stands between producer and consumer. */
  readonly manifestSha256: string | null
  /** Samples of train.validation.manifest, in the same store. */
  readonly validation?: Pick<TrainingData, 'refs' | 'contract'> | null
}

export function dataOf(
  { refs, contract, countsFiles, sha256 }: Manifest,
  validation: Manifest | null = null,
): TrainingData {
  return { refs, contract, countsFiles, manifestSha256: sha256, validation }
}

/** The part of a config that training reads. */
export type TrainingConfig = Pick<RunConfig, 'run' | 'data' | 'draft' | 'train'> & {
  readonly target: Pick<RunConfig['target'], 'model'>
}

export interface PreparedRun {
  /** The samples to train on; the plan's sample numbers are indices into them. */
  readonly refs: Refs
  readonly validation: SampleSet | null
  readonly plan: BatchPlan
  readonly draft: DraftConfig
  readonly identity: RunIdentity
  readonly checkpoints: CheckpointFolder
  /** Where to go on from. */
  readonly newest: Checkpoint | null
  /** The newest checkpoint is the last one: there is nothing left to do. */
  readonly finished: boolean
}

/** Which checkpoints a run writes and goes on from. */
export interface CheckpointUse {
  /** The publishing folder of the claim on the run. Null: the run is not claimed, or this rank writes none. */
  readonly publishFrom?: string | null
  /**
   * The step of the checkpoint to go on from; null: from the beginning. All ranks of a job go on from the same one: `agreed`
   * is the newest that rank 0 sees, for ranks that nobody on their node tells a step.
   */
  readonly resumeFrom?: number | 'newest' | 'agreed' | null
}

/** What is known once the ranks have agreed. */
export interface ChosenCheckpoint extends CheckpointUse {
  readonly resumeFrom?: number | 'newest' | null
}

/**
 * All that can be decided without Python: what the run will do, whether its parts fit, and where it stands.
 * @throws CONFIG_INVALID, CONTRACT_MISMATCH, or CHECKPOINT_INVALID when run.dir holds another run's checkpoints.
 */
export async function prepareRun(
  config: TrainingConfig,
  data: TrainingData,
  place: { readonly rank: number; readonly worldSize: number },
  { publishFrom = null, resumeFrom = 'newest' }: ChosenCheckpoint = {},
): Promise<PreparedRun> {
  const architecture = architectureOf(config.draft.architecture)
  requireEveryFeature(architecture, data)
  if (data.validation != null) requireSameCapture(architecture, data.contract, data.validation)
  const { train, run } = config
  const validationRefs = data.validation?.refs ?? null
  const sources = { refs: data.refs, validationRefs, settings: train.validation, seed: run.seed }
  const { training, validation, ...held } = split({ ...sources, maxLength: config.data.maxLength })
  const longest = training.lengths.reduce((most, length) => Math.max(most, length), 0)
  const { shape, auxLayers } = data.contract
  const draft = await resolveDraftConfig(config.draft, shape, { auxLayers, longest })
  const { rank, worldSize } = place
  const plan = batchPlan(training.lengths, { ...train, seed: run.seed, rank, worldSize })
  const identity = { ...identityOf(config, data, draft, worldSize), ...held.identity }
  const checkpoints = new CheckpointFolder(path.join(run.dir, 'checkpoints'), publishFrom)
  const newest = await chosen(checkpoints, resumeFrom)
  if (newest !== null) requireSameRun(identity, newest.record, path.join(newest.dir, 'checkpoint.json'))
  const finished = newest !== null && newest.record.globalStep >= plan.totalSteps
  return { refs: training.refs, validation, plan, draft, identity, checkpoints, newest, finished }
}

async function chosen(checkpoints: CheckpointFolder, from: number | 'newest' | null): Promise<Checkpoint | null> {
  if (from === 'newest') return checkpoints.newest()
  return from === null ? null : checkpoints.at(from)
}

/** What decides the numbers, by the name it has in the config. Not the number of ranks: equal global batches are equal. */
function identityOf(config: TrainingConfig, data: TrainingData, draft: DraftConfig, worldSize: number): RunIdentity {
  const { train, run } = config
  const batch =
    'samples' in train.batch ? { samples: train.batch.samples * worldSize } : { ...train.batch, ranks: worldSize }
  return {
    'run.seed': run.seed,
    features: data.refs.contentDigest(),
    'target.model': data.contract.targetHash,
    'data.maxLength': config.data.maxLength,
    'draft.config': sha256(canonical(draft)),
    'draft.init': config.draft.init,
    'train.batch (all ranks)': batch,
    ...trainIdentity(train),
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Validation must see the draft as training does: features of the same target, taken in the same way. */
function requireSameCapture(
  architecture: DraftArchitecture,
  mine: CaptureContract,
  other: Pick<TrainingData, 'refs' | 'contract'>,
): void {
  requireEveryFeature(architecture, other)
  for (const field of ['targetHash', 'auxLayers', 'layerConvention', 'finalNorm', 'logits'] as const) {
    const [found, expected] = [canonical(other.contract[field] ?? null), canonical(mine[field] ?? null)]
    if (found === expected) continue
    throw finding(
      'CONTRACT_MISMATCH',
      'the validation samples were captured in another way than the training samples',
      {
        field,
        found: `${found}; expected ${expected}`,
        fix: 'produce both from one target with the same settings',
      },
    )
  }
}

function requireEveryFeature(
  architecture: DraftArchitecture,
  { refs, contract }: Pick<TrainingData, 'refs' | 'contract'>,
): void {
  const wanted = expectedShapes(architecture, contract, 'n')
  const holds = (spec: RefList['specs'][number]) => differences(wanted, foundIn(spec)).length === 0
  if (refs.specs.every(holds)) return
  // Some sample may be wrong, or a template may only be written in another way.
  for (const { sampleId, numTokens, features } of refs) {
    const found = foundIn(features.map(({ name, dtype, shape: axes }) => [name, dtype, axes]))
    const [wrong] = differences(expectedShapes(architecture, contract, numTokens), found)
    if (wrong === undefined) continue
    throw finding('CONTRACT_MISMATCH', `sample ${sampleId} does not hold what ${architecture.name} trains on`, {
      field: wrong.name,
      found: `${wrong.found}; expected ${wrong.expected}`,
      fix: 'produce the features again from the target that the config names',
    })
  }
}

const foundIn = (features: readonly (readonly [string, string, readonly (number | 'n')[]])[]) =>
  new Map(features.map(([name, , axes]) => [name, `[${axes.join(', ')}]`]))

const differences = (wanted: ReadonlyMap<string, string>, found: ReadonlyMap<string, string>) =>
  [...wanted]
    .map(([name, expected]) => ({ name, expected, found: found.get(name) ?? 'nothing' }))
    .filter((item) => item.found !== item.expected)
