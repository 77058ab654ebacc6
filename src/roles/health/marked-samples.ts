import { lazyPython } from '../../bridge/lazy-python.ts'
import { Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { MarkedSample, ShownSamples } from '../../core/data-health.ts'
import { CodedError } from '../../core/errors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import type { RefList } from '../../refs/manifest.ts'
import type { MaintenanceStore } from '../../store/open-for-maintenance.ts'
import { ReadPath } from '../../store/paths/read-path.ts'
import { heldOut } from '../../train/data/held-out.ts'
import { cutParts } from './cut-parts.ts'

export interface MarkedOptions {
  readonly refs: RefList
  readonly contract: CaptureContract
  /** Opened by the caller. */
  readonly store: MaintenanceStore
  /** The tokenizer of the config, where it names one. Null: that of the target. */
  readonly tokenizer: string | null
  /** The target's place on this machine. Default: where the producer had it. */
  readonly model?: string
  readonly count: number
  readonly seed: number
}

/**
 * Some samples as text, with the trained tokens marked. Which ones depends on the seed and the sample ids only. Ids and
 * mask are read from the store, whole and compared with their digests. What cannot be read or spelled is told, not thrown.
 */
export async function markedSamples(options: MarkedOptions): Promise<ShownSamples> {
  const { seed } = options
  try {
    return await spelled(options)
  } catch (error) {
    return { seed, samples: [], missing: reasonOf(error) }
  }
}

/** One line that says why samples are not shown. @throws what is no coded error: that is a bug. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof CodedError)) throw error
  const [what = error.message] = error.message.split('\n')
  const { file, found } = error.details as { readonly file?: string; readonly found?: string }
  return [what, file, found].filter((part) => part !== undefined).join(': ')
}

async function spelled({ refs, contract, store, ...options }: MarkedOptions): Promise<ShownSamples> {
  const { seed, count, tokenizer, model = contract.target } = options
  const python = lazyPython
  const opened = await python.call('text.open', { model, tokenizer })
  await using text = new Owned(python, opened.handle)
  if (contract.tokenizerHash !== null && opened.tokenizerHash !== contract.tokenizerHash) {
    const missing = `the tokenizer of ${tokenizer ?? model} is not the one that made the samples`
    return { seed, samples: [], missing }
  }
  const chosen = heldOut(refs, { share: 1, limit: count, seed }).map((index) => refs.at(index))
  const reader = new ReadPath(store.parts, 'always')
  const samples: MarkedSample[] = []
  let lost = 0
  for (const ref of chosen) {
    const sample = await markedSample(ref, reader, text.handle)
    if (sample === null) lost += 1
    else samples.push(sample)
  }
  const missing = lost === 0 ? null : `${lost} of ${chosen.length} samples are not in the store, or are damaged there`
  return { seed, samples, missing }
}

const IDS = { names: ['input_ids', 'loss_mask'] } as const

/** Null for one that is not stored any more, or is damaged. */
async function markedSample(ref: SampleRef, reader: ReadPath, session: number): Promise<MarkedSample | null> {
  const [read = null] = await reader.read([reader.wanted(ref, IDS)], IDS)
  if (!(read instanceof TensorSet)) return null
  await using tensors = read
  const { parts } = await lazyPython.call('text.parts', { session, set: tensors.handle })
  const { sampleId, numTokens: tokens, trainedTokens: trained = 0, provenance } = ref
  return { sampleId, from: String(provenance['from'] ?? ''), tokens, trained, ...cutParts(parts) }
}
