import { embedPython, type Python } from '../../bridge/python.ts'
import { freePort, thisMachine } from '../../launch/machine.ts'
import { type RankPlace, topology } from '../../launch/topology.ts'
import type { Manifest } from '../../refs/manifest.ts'
import type { EventSink } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { assembleOfflineEagle3, type Eagle3Runtime } from './assemble.ts'
import { dataOf, type TrainingConfig, type TrainingData } from './prepare-run.ts'

export interface Eagle3RuntimeOptions {
  readonly config: TrainingConfig
  /** The store that holds the features. It stays the caller's: disposing the runtime does not close it. */
  readonly store: FeatureStore
  /** Default: the interpreter of this process. */
  readonly python?: Python
  /** Default: the only rank of its job. */
  readonly place?: RankPlace
  /** The publishing folder of the claim on the run: nothing is saved once it is gone. Default: the run is not claimed. */
  readonly publishFrom?: string | null
  /** Aborted: the run stops at the next optimiser step, on all ranks the same one, and saves. */
  readonly signal?: AbortSignal
  readonly events?: EventSink
  /** Told what the rank is doing, for whoever watches it. */
  readonly onPhase?: (phase: string) => void
}

export interface OfflineEagle3Options extends Eagle3RuntimeOptions {
  readonly data: TrainingData
}

export interface DisaggEagle3Options extends Eagle3RuntimeOptions {
  readonly manifest: Manifest
  /** That of train.validation.manifest, of the same store. */
  readonly validation?: Manifest | null
}

/** Colocated training: the features are in a store of this process, and the refs never leave it. */
export async function buildOfflineEagle3Runtime({ data, ...options }: OfflineEagle3Options): Promise<Eagle3Runtime> {
  return assembleOfflineEagle3({ ...(await withDefaults(options)), data })
}

/** Disaggregated training: other processes have filled the store, and a manifest says with what. */
export async function buildDisaggEagle3Runtime(given: DisaggEagle3Options): Promise<Eagle3Runtime> {
  const { manifest, validation = null, ...options } = given
  return assembleOfflineEagle3({ ...(await withDefaults(options)), data: dataOf(manifest, validation) })
}

async function withDefaults(options: Eagle3RuntimeOptions): Promise<Required<Eagle3RuntimeOptions>> {
  return {
    ...options,
    python: options.python ?? (await embedPython()),
    publishFrom: options.publishFrom ?? null,
    place: options.place ?? (await onlyRank()),
    signal: options.signal ?? new AbortController().signal,
    events: options.events ?? { emit: () => undefined },
    onPhase: options.onPhase ?? (() => undefined),
  }
}

async function onlyRank(): Promise<RankPlace> {
  const machine = await thisMachine()
  const master = { addr: '127.0.0.1', port: await freePort() }
  const [place] = topology({ nodes: 1, nodeRank: 0, ranksPerNode: 1, machine, master })
  if (place === undefined) throw new Error('a topology without ranks')
  return place
}
