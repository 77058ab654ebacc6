import type { SampleRef } from '../core/sample-ref.ts'
import type { CaptureContract } from '../core/target-contract.ts'

// The reference batches every stored tensor: a leading axis of one.
const BATCH = 1
// The reference's name for training an EAGLE3 draft, the only one that it reads features of this form for.
const STRATEGY = 'eagle3'

/** One ref as the reference's single-file manifest has it. Where it has no field of its own, it goes into `metadata`. */
export function referenceRef(ref: SampleRef, index: number, contract: CaptureContract): Record<string, unknown> {
  const { runId, sampleId, storeId, generation, features, digests, numTokens, bytes } = ref
  const { trainedTokens, truncated, sourceBytes, provenance } = ref
  const specs = features.map(({ name, shape, dtype }) => {
    const rest = { device_hint: null, required: true, target_repr: null, target_meta: {} }
    return [name, { name, shape: [BATCH, ...shape], dtype, ...rest }]
  })
  return {
    sample_id: sampleId,
    run_id: runId,
    source_task_id: null,
    feature_store_uri: `disagg://${storeId}/${sampleId}`,
    feature_keys: Object.fromEntries(features.map(({ name }) => [name, `${sampleId}/${name}`])),
    feature_specs: Object.fromEntries(specs),
    strategy: STRATEGY,
    schema_version: 1,
    target_model_version: contract.targetHash,
    draft_weight_version: null,
    tokenizer_version: contract.tokenizerHash ?? 'unknown',
    num_tokens: numTokens,
    estimated_bytes: bytes,
    metadata: {
      ...provenance,
      fileBytes: sourceBytes,
      lossTokens: trainedTokens,
      truncated,
      run_id: runId,
      strategy: STRATEGY,
      format: 'offline_eagle3',
      target_repr: 'hidden_state',
      file_index: index,
      generation,
      digests,
    },
  }
}

/** The whole file, a piece at a time. */
export function* referenceManifest(refs: Iterable<SampleRef>, contract: CaptureContract): Generator<string> {
  yield '{"schema_version": 1, "refs": ['
  let index = 0
  for (const ref of refs) {
    yield `${index === 0 ? '' : ','}\n${JSON.stringify(referenceRef(ref, index, contract))}`
    index += 1
  }
  yield '\n]}\n'
}
