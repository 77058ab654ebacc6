import path from 'node:path'
import { looksLikeKey, STORE_KEY_ENV } from '../core/store-key-env.ts'
import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'
import { traitsOf } from './store-kinds.ts'

/** Settings of the store that are fine alone and cannot work together. */
export function storeProblems({ store }: Pick<RunConfig, 'store'>): readonly Omit<Problem, 'where'>[] {
  const { auth } = store
  const problems: Omit<Problem, 'where'>[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (auth.keyFile !== null && [auth.keyFile, path.basename(auth.keyFile)].some(looksLikeKey)) {
    add('store.auth.keyFile', 'what looks like the key itself', `the path of a file that holds it, or ${STORE_KEY_ENV}`)
  } else if (auth.mode === 'none' && auth.keyFile !== null) {
    add('store.auth.mode', 'none, though store.auth.keyFile names a key', 'mac or seal, or no keyFile')
  }
  if (auth.mode !== 'none' && !traitsOf(store).shared) {
    add('store.auth.mode', auth.mode, `none for kind ${store.kind}: nobody outside the process can reach such a store`)
  }
  if (auth.mode === 'mac' && store.verify !== 'always') {
    add('store.verify', store.verify, 'always with auth mode mac: what is not verified may be forged')
  }
  if (auth.mode === 'seal' && store.dedup) {
    add('store.dedup', 'true', 'false with auth mode seal: equal tensors are sealed to different bytes')
  }
  return problems
}
