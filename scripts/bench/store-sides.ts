import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { embedPython } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { type SharedDirStoreOptions, sharedDirFeatureStore } from '../../src/store/open.ts'
import type { Side } from './turns.ts'

/** The metadata with which the specimen is put. */
export const specimenMetadata = { runId: RunId.parse('bench'), numTokens: 1, provenance: {} }

/** The random tensors of one sample. 2048 tokens of width 3584 are 58.8 MB. */
export async function specimen(tokens: number, width: number): Promise<TensorSet> {
  const features = [
    { name: 'input_ids', shape: [tokens], dtype: 'int64' as const },
    { name: 'loss_mask', shape: [tokens], dtype: 'int64' as const },
    { name: 'hidden_state', shape: [tokens, width], dtype: 'bfloat16' as const },
    { name: 'aux_hidden_state', shape: [tokens, 3 * width], dtype: 'bfloat16' as const },
  ]
  const python = await embedPython()
  return new TensorSet(python, await python.call('tensor.synthesize', { features, seed: 1 }))
}

type StoreSetting = Pick<SharedDirStoreOptions, 'durability'> & { readonly mode: 'none' | 'mac' | 'seal' }

/** A new store below `dir`. */
export async function newStore(dir: string, { mode, durability = 'fsync' }: StoreSetting): Promise<FeatureStore> {
  const keyFile = path.join(dir, 'key')
  await writeFile(keyFile, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx' }).catch(() => undefined)
  const auth = mode === 'none' ? { mode } : { mode, keyFile }
  const root = path.join(dir, `${mode}-${durability}`)
  return sharedDirFeatureStore({ python: await embedPython(), root, retain: true, durability, auth })
}

/** Times a get. Its release is not timed, because a reader works in between. */
export const getting = (name: string, store: FeatureStore, ref: SampleRef, verify: boolean): Side => [
  name,
  async () => {
    const begun = performance.now()
    const lease = await store.get(ref, { verify })
    const seconds = (performance.now() - begun) / 1000
    await lease[Symbol.asyncDispose]()
    return seconds
  },
]

/** Times a put of a new sample, which is removed afterwards. */
export const putting = (name: string, store: FeatureStore, tensors: TensorSet): Side => {
  let count = 0
  return [
    name,
    async () => {
      const id = SampleId.parse(`put:${count++}`)
      const begun = performance.now()
      await store.put(id, tensors, specimenMetadata)
      const seconds = (performance.now() - begun) / 1000
      await store.abort(id)
      return seconds
    },
  ]
}
