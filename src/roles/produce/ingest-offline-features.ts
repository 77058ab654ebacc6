import { embedPython, type Python } from '../../bridge/python.ts'
import { RunConfig } from '../../config/schema.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { Manifest } from '../../refs/manifest.ts'
import type { EventSink } from '../../report/events/events.ts'
import type { FeatureStore } from '../../store/feature-store.ts'
import { produceInto } from './produce.ts'

export interface IngestOptions {
  /** A folder, a file or a pattern that matches `.ckpt`, `.ckpt.gz` and `.safetensors` feature files. */
  readonly files: string
  /** The layout of the files: `features.layout` of the config. Default: auto. */
  readonly layout?: RunConfig['features']['layout']
  /** The data set with the masks of files that hold none. Default: one beside the files. */
  readonly masks?: string
  /** Whether their last state is behind the final norm. Default: as the layout has it. */
  readonly finalNorm?: RunConfig['features']['finalNorm']
  /** The target that the features were captured from: a transformers folder or a .gguf file. */
  readonly target: string
  /** Must have been opened with `retain: true`. */
  readonly store: FeatureStore
  /** The folder of the manifest. */
  readonly manifest: string
  readonly runId: string
  readonly maxLength?: number
  /** Link or copy the tensors into the store: `features.link` of the config. Default: auto. */
  readonly link?: RunConfig['features']['link']
  /** Replace samples of the same ids that another complete manifest of the store lists. Default: refuse. */
  readonly replace?: boolean
  /** Leave a bad file out, which only `events` tell, or end there. Default: stop. */
  readonly onBad?: RunConfig['data']['onBad']
  readonly python?: Python
  readonly events?: EventSink
  readonly signal?: AbortSignal
  readonly clock?: Clock
}

/** Ingests existing feature files into a store and publishes their manifest. Resumes an interrupted ingest. */
export async function ingestOfflineFeatures(options: IngestOptions): Promise<Manifest> {
  const { files, target, store, manifest, runId, maxLength, link, replace, onBad = 'stop' } = options
  const { layout, masks, finalNorm } = options
  const config = RunConfig.parse({
    version: 1,
    run: { id: runId },
    target: { model: target },
    data: maxLength === undefined ? { onBad } : { onBad, maxLength },
    features: { source: 'files', files, link, replace, layout, masks, finalNorm },
    manifest,
  })
  const context = {
    clock: options.clock ?? systemClock,
    signal: options.signal ?? new AbortController().signal,
    events: options.events ?? { emit: () => undefined },
  }
  return produceInto({ config, store, context, python: options.python ?? (await embedPython()) })
}
