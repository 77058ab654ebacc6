import { embedPython, type Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import type { FeatureSpec } from '../../src/core/feature-spec.ts'

/** The interpreter of this process (vitest: pool forks; CPython starts once per process). */
export const python: Python = await embedPython()

/** Random tensors of these specs, the same for the same seed. The caller disposes them. */
export async function synthesize(seed: number, features: readonly FeatureSpec[]): Promise<TensorSet> {
  return new TensorSet(python, await python.call('tensor.synthesize', { seed, features: [...features] }))
}

/** The four tensors of a sample of `n` tokens, as the producer stores them. */
export const sampleSpecs = (n: number, hidden = 8, dtype: 'float32' | 'bfloat16' = 'float32'): FeatureSpec[] => [
  { name: 'input_ids', shape: [n], dtype: 'int64' },
  { name: 'loss_mask', shape: [n], dtype: 'int64' },
  { name: 'hidden_state', shape: [n, hidden], dtype },
  { name: 'aux_hidden_state', shape: [n, 3 * hidden], dtype },
]

export async function digestsOf(set: TensorSet): Promise<Readonly<Record<string, string>>> {
  return (await python.call('tensor.digest', { handle: set.handle })).digests
}
