import { embedPython, type Python } from '../../bridge/python.ts'
import { freePort, thisMachine } from '../../launch/machine.ts'
import { type RankPlace, topology } from '../../launch/topology.ts'
import type { Manifest } from '../../refs/manifest.ts'
import type { EventSink } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { assembleOffline, type TrainingRuntime } from './assemble.ts'
import { type CheckpointUse, dataOf, type TrainingConfig, type TrainingData } from './prepare-run.ts'

export interface RuntimeOptions {
  readonly config: TrainingConfig
  /** A name of the registry of draft architectures. Default: `draft.architecture` of the config. */
  readonly architecture?: string | undefined
  /** The store that holds the features. It stays the caller's: disposing the runtime does not close it. */
  readonly store: FeatureStore
  /** Default: the interpreter of this process. */
  readonly python?: Python
  /** Default: the only rank of its job. */
  readonly place?: RankPlace
  /** Default: the run is not claimed, and goes on from its newest checkpoint. */
  readonly checkpoints?: CheckpointUse
  /** Aborted: the run stops at the next optimiser step, on all ranks the same one, and saves. */
  readonly signal?: AbortSignal
  readonly events?: EventSink
  /** Called with what the rank is doing now. */
  readonly onPhase?: (phase: string) => void
}

export interface OfflineOptions extends RuntimeOptions {
  readonly data: TrainingData
}

export interface DisaggOptions extends RuntimeOptions {
  readonly manifest: Manifest
  /** That of train.validation.manifest, of the same store. */
  readonly validation?: Manifest | null
}

/** Colocated training: the features are in a store of this process, and the refs never leave it. */
export async function buildOfflineRuntime({
  data,
  architecture,
  ...options
}: OfflineOptions): Promise<TrainingRuntime> {
  return assembleOffline({ ...(await withDefaults(options, architecture)), data })
}

/** Disaggregated training: other processes have filled the store, and a manifest says with what. */
export async function buildDisaggRuntime(given: DisaggOptions): Promise<TrainingRuntime> {
  const { manifest, validation = null, architecture, ...options } = given
  return assembleOffline({ ...(await withDefaults(options, architecture)), data: dataOf(manifest, validation) })
}

export type OfflineEagle3Options = Omit<OfflineOptions, 'architecture'>
export type DisaggEagle3Options = Omit<DisaggOptions, 'architecture'>

/** `buildOfflineRuntime` for an EAGLE3 draft. */
export const buildOfflineEagle3Runtime = (options: OfflineEagle3Options): Promise<TrainingRuntime> =>
  buildOfflineRuntime({ ...options, architecture: 'eagle3' })

/** `buildDisaggRuntime` for an EAGLE3 draft. */
export const buildDisaggEagle3Runtime = (options: DisaggEagle3Options): Promise<TrainingRuntime> =>
  buildDisaggRuntime({ ...options, architecture: 'eagle3' })

async function withDefaults(
  options: Omit<RuntimeOptions, 'architecture'>,
  architecture: string | undefined,
): Promise<Required<Omit<RuntimeOptions, 'architecture'>>> {
  const { config } = options
  const draft = { ...config.draft, architecture: architecture ?? config.draft.architecture }
  return {
    ...options,
    config: { ...config, draft },
    python: options.python ?? (await embedPython()),
    checkpoints: options.checkpoints ?? {},
    place: options.place ?? (await onlyRank()),
    signal: options.signal ?? new AbortController().signal,
    events: options.events ?? { emit: () => undefined },
    onPhase: options.onPhase ?? (() => undefined),
  }
}

async function onlyRank(): Promise<RankPlace> {
  const machine = await thisMachine()
  const master = { addr: '127.0.0.1', port: await freePort() }
  const [place] = topology({ ranks: 1, cores: machine.cores, master })
  if (place === undefined) throw new Error('a topology without ranks')
  return place
}
