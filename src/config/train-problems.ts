import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'
import { traitsOf } from './store-kinds.ts'

type Found = Omit<Problem, 'where'>

/** Training settings that are valid alone but not together. */
export function trainProblems(config: Pick<RunConfig, 'train' | 'store' | 'manifest'>): readonly Found[] {
  const { train, store, manifest } = config
  const { validation } = train
  const problems: Found[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (validation !== null && (validation.share === null) === (validation.manifest === null)) {
    const found = validation.share === null ? 'neither share nor manifest' : 'both share and manifest'
    add('train.validation', found, 'share (hold out a part of the samples) or manifest (validate on other samples)')
  }
  if (validation !== null && validation.manifest === manifest) {
    add('train.validation.manifest', 'the manifest that is trained on', 'another manifest, or share instead')
  }
  if (validation !== null && validation.manifest !== null && !traitsOf(store).shared) {
    const { kind } = store
    add('train.validation.manifest', `a manifest, with store.kind ${kind}`, `share: a ${kind} store has no manifests`)
  }
  if (train.deterministic && train.unroll === 'fused') {
    add('train.unroll', 'fused, with train.deterministic', 'auto or plain: fused is not deterministic on a GPU')
  }
  return problems
}

/** Settings that let training from a store fail after the first epoch. Other roles do not read both keys. */
export function consumerProblems({ store, train }: Pick<RunConfig, 'train' | 'store'>): readonly Found[] {
  if (store.retain || train.epochs === 1) return []
  const expected = 'true; or set train.epochs to 1: without retain each sample is freed after its first use'
  return [{ field: 'store.retain', found: `false, with train.epochs ${train.epochs}`, expected }]
}
