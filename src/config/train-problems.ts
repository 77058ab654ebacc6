import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'
import { traitsOf } from './store-kinds.ts'

/** Settings of the training that are fine alone and cannot work together. */
export function trainProblems(config: Pick<RunConfig, 'train' | 'store' | 'manifest'>): Omit<Problem, 'where'>[] {
  const { train, store, manifest } = config
  const { validation } = train
  const problems: Omit<Problem, 'where'>[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (validation !== null && (validation.share === null) === (validation.manifest === null)) {
    const found = validation.share === null ? 'neither share nor manifest' : 'both share and manifest'
    add('train.validation', found, 'share (a part of the samples is held out) or manifest (samples of their own)')
  }
  if (validation !== null && validation.manifest === manifest) {
    add('train.validation.manifest', 'the manifest that is trained on', 'another one, or share instead')
  }
  if (validation !== null && validation.manifest !== null && !traitsOf(store).shared) {
    add(
      'train.validation.manifest',
      `a manifest, with store.kind ${store.kind}`,
      `share: a ${store.kind} store has no manifests`,
    )
  }
  if (train.deterministic && train.unroll === 'fused') {
    add('train.unroll', 'fused, with train.deterministic', 'auto or plain: the fused one is not deterministic on a GPU')
  }
  return problems
}
