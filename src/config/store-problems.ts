import path from 'node:path'
import { looksLikeKey, STORE_KEY_ENV } from '../core/store-key-env.ts'
import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'
import { traitsOf } from './store-kinds.ts'

/** Store settings that are valid alone but not together. */
export function storeProblems({ store }: Pick<RunConfig, 'store'>): readonly Omit<Problem, 'where'>[] {
  const { auth } = store
  const problems: Omit<Problem, 'where'>[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (auth.keyFile !== null && [auth.keyFile, path.basename(auth.keyFile)].some(looksLikeKey)) {
    add(
      'store.auth.keyFile',
      'a text that looks like the key itself',
      `the path of a file that contains the key; or leave it out and set ${STORE_KEY_ENV}`,
    )
  } else if (auth.mode === 'none' && auth.keyFile !== null) {
    add('store.auth.mode', 'none, but store.auth.keyFile names a key', 'mac or seal; or remove store.auth.keyFile')
  }
  if (auth.mode !== 'none' && !traitsOf(store).shared) {
    const { kind } = store
    add('store.auth.mode', auth.mode, `none with store.kind ${kind}: no other process can reach a ${kind} store`)
  }
  if (auth.mode === 'mac' && store.verify !== 'always') {
    add('store.verify', store.verify, 'always with store.auth.mode mac: data that is not verified may be forged')
  }
  if (auth.mode === 'seal' && store.dedup) {
    add('store.dedup', 'true', 'false with store.auth.mode seal: equal tensors are sealed to different bytes')
  }
  return problems
}
