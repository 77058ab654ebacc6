import { z } from 'zod'
import { RunId } from '../core/ids.ts'
import { Bytes } from '../core/settings/bytes.ts'
import { Count } from '../core/settings/count.ts'
import { GenerateSettings } from '../core/settings/generate-settings.ts'
import { DataSettings, DraftSettings, EvalSettings, TargetSettings } from '../core/settings/model-settings.ts'
import { TrainSettings } from '../core/settings/train-settings.ts'
import { storeKinds } from './store-kinds.ts'

/** A Node timer runs at most 2^31 ms; a longer one would fire at once. */
const LONGEST_SECONDS = 2_000_000

const Run = z.strictObject({
  id: RunId.default(RunId.parse('demo')),
  dir: z.string().default('runs/demo'),
  seed: z.number().int().nonnegative().default(0),
})

const Features = z.strictObject({
  source: z.enum(['capture', 'files']).default('capture'),
  files: z.string().nullable().default(null),
  /** The layout of the files: docs/feature-files.md. `auto`: what all of them are. */
  layout: z.enum(['auto', 'specforge', 'speculators', 'torchspec']).default('auto'),
  /** The data set with `input_ids` and `loss_mask` of files that hold no mask. Null: looked for beside the files. */
  masks: z.string().nullable().default(null),
  /** Whether the last hidden state in the files is behind the target's final norm. `auto`: as the layout has it. */
  finalNorm: z.enum(['auto', 'pre', 'post']).default('auto'),
  /** How ingested tensors get into the store: as reflinks, as hard links, as references to the files, or as copies. */
  link: z.enum(['auto', 'reflink', 'hardlink', 'reference', 'copy']).default('auto'),
  /** Replace samples of the same ids that another complete manifest of the store lists. */
  replace: z.boolean().default(false),
})

const Store = z.strictObject({
  kind: z.enum(storeKinds).default('shared-dir'),
  root: z.string().default('features'),
  retain: z.boolean().default(true),
  durability: z.enum(['fsync', 'fast']).default('fsync'),
  /** When a digest of the read bytes is checked: at every get, at the first get of each process, or never. */
  verify: z.enum(['always', 'once', 'never']).default('always'),
  /** For all runs in the store together. Null: no limit. */
  quota: Bytes.nullable().default(null),
  /** Store equal tensors of different samples only once. */
  dedup: z.boolean().default(false),
  auth: z
    .strictObject({
      mode: z.enum(['none', 'mac', 'seal']).default('none'),
      /** Null: DRAFTBRIDGE_STORE_KEY holds the key. */
      keyFile: z.string().nullable().default(null),
    })
    .prefault({}),
})

const Launch = z.strictObject({
  /** Nodes of the whole job. `auto`: as the launcher says, else one. */
  nodes: z.union([Count, z.literal('auto')]).default('auto'),
  /** The first nodes of the job produce, the others train. 0: all train from a manifest that is there. */
  producers: z.number().int().nonnegative().default(1),
  ranksPerNode: z.union([Count, z.literal('auto')]).default('auto'),
  /** CPU threads of each rank. `auto`: the ranks of a node share its cores. Sums of floats depend on it. */
  threadsPerRank: z.union([Count, z.literal('auto')]).default('auto'),
  /** Processes that `capture` runs on this machine, each for one part of the data set. `auto`: one for each GPU. */
  processes: z.union([Count, z.literal('auto')]).default('auto'),
  /** Where the ranks of several nodes meet: an address of the first node that trains. Null: found out. */
  rendezvous: z
    .string()
    .regex(/^[A-Za-z0-9.-]+:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/)
    .describe('host and port, such as 10.0.0.1:29500')
    .nullable()
    .default(null),
  /** Seconds between SIGTERM and SIGKILL for the other ranks after one rank has failed. */
  graceSeconds: z.number().positive().max(LONGEST_SECONDS).default(3),
  /** Seconds that a consumer waits for the manifest, for the next heartbeat or for the other nodes before PEER_TIMEOUT. */
  peerTimeoutSeconds: z.number().positive().max(LONGEST_SECONDS).default(600),
})

/** `draftbridge.yaml`. `loadConfig` makes its paths absolute. */
export const RunConfig = z.strictObject({
  version: z.literal(1),
  run: Run.prefault({}),
  target: TargetSettings,
  data: DataSettings.prefault({}),
  generate: GenerateSettings.prefault({}),
  features: Features.prefault({}),
  store: Store.prefault({}),
  manifest: z.string().default('manifest'),
  draft: DraftSettings.prefault({}),
  train: TrainSettings.prefault({}),
  eval: EvalSettings.prefault({}),
  launch: Launch.prefault({}),
})
export type RunConfig = z.output<typeof RunConfig>
