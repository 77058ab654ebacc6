import { RunId, StoreId } from '../../src/core/ids.ts'
import type { ManifestOptions } from '../../src/refs/manifest.ts'
import { FakeClock } from './fake-clock.ts'
import { exampleContract } from './refs.ts'

/** What a writer of the manifest in `dir` is given. Without vitest, so that a process of its own can use it. */
export const work = (dir: string): ManifestOptions & { readonly clock: FakeClock } => ({
  dir,
  runId: RunId.parse('run'),
  storeId: StoreId.parse('store-a'),
  contract: exampleContract,
  inputs: 'these',
  clock: new FakeClock(),
})
