// The library: produce features, pass them on, train a draft from them. The command line is a thin shell on it.
export { embedPython, type Python } from './bridge/python.ts'
export { TensorSet } from './bridge/tensor-set.ts'
export { type ConfigRequest, loadConfig } from './config/load.ts'
export { RunConfig } from './config/schema.ts'
export { type Clock, systemClock } from './core/clock.ts'
export { CodedError, type ErrorCode, hasCode } from './core/errors.ts'
export { FeatureSpec } from './core/feature-spec.ts'
export { Generation, RunId, SampleId, StoreId } from './core/ids.ts'
export { type Provenance, SampleRef } from './core/sample-ref.ts'
export { CaptureContract } from './core/target-contract.ts'
export type { RankPlace } from './launch/topology.ts'
export {
  type Manifest,
  type ManifestOptions,
  type ManifestSoFar,
  RefList,
  readManifestSoFar,
  readRefManifest,
  waitForManifest,
  writeRefManifest,
} from './refs/manifest.ts'
export type { EventBody, EventSink } from './report/events/events.ts'
export { type PoolPlace, type PoolRequest, poolPlace } from './roles/pools.ts'
export { type IngestOptions, ingestOfflineFeatures } from './roles/produce/ingest-offline-features.ts'
export { TrainingRuntime, TrainingRuntime as Eagle3Runtime } from './roles/train/assemble.ts'
export type { TrainingConfig, TrainingData } from './roles/train/prepare-run.ts'
export {
  buildDisaggEagle3Runtime,
  buildDisaggRuntime,
  buildOfflineEagle3Runtime,
  buildOfflineRuntime,
  type DisaggEagle3Options,
  type DisaggOptions,
  type OfflineEagle3Options,
  type OfflineOptions,
} from './roles/train/runtime.ts'
export type { FeatureStore, Lease, PutAbout } from './store/feature-store.ts'
export {
  type LocalStoreOptions,
  localFeatureStore,
  type SharedDirStoreOptions,
  sharedDirFeatureStore,
} from './store/open.ts'
export type { TrainOutcome } from './train/trainer.ts'
