import { specBytes } from '../../src/core/feature-spec.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'
import { CaptureContract } from '../../src/core/target-contract.ts'

const HEX = '0123456789abcdef'

/** The ref of a sample of `n` tokens with hidden size 8, as a store hands it out. */
export function exampleRef(index: number, { n = 5 + index, ...changes }: Partial<SampleRef> & { n?: number } = {}) {
  const features = [
    { name: 'input_ids', shape: [n], dtype: 'int64' as const },
    { name: 'loss_mask', shape: [n], dtype: 'int64' as const },
    { name: 'hidden_state', shape: [n, 8], dtype: 'bfloat16' as const },
    { name: 'aux_hidden_state', shape: [n, 24], dtype: 'bfloat16' as const },
  ]
  const digest = `xxh3_64:${HEX.slice(index % 16)
    .concat(HEX)
    .slice(0, 16)}`
  return SampleRef.parse({
    schemaVersion: 1,
    runId: 'run',
    sampleId: `run:${String(index).padStart(8, '0')}`,
    storeId: 'store-a',
    generation: index + 1,
    features,
    digests: Object.fromEntries(features.map(({ name }) => [name, digest])),
    numTokens: n,
    bytes: features.reduce((sum, spec) => sum + specBytes(spec), 0),
    trainedTokens: n - 2,
    truncated: index % 2 === 0,
    provenance: { from: `data_${index}.ckpt` },
    ...changes,
  })
}

export const exampleContract = CaptureContract.parse({
  target: '/models/tiny',
  targetHash: 'xxh3_64:0123456789abcdef',
  shape: {
    hiddenSize: 8,
    intermediateSize: 16,
    numLayers: 8,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 4,
    vocabSize: 64,
    rmsNormEps: 1e-5,
    ropeTheta: 10000,
    maxPositions: 128,
    bosId: null,
    eosIds: [2],
  },
  auxLayers: [1, 3, 4],
  layerConvention: 'output',
  finalNorm: 'post',
  dtype: 'bfloat16',
  maskRule: 'assistant-tokens',
  tokenizerHash: null,
  templateHash: null,
})
