import { z } from 'zod'
import { finding } from '../core/errors.ts'
import { readTextOrNull } from '../core/files/atomic-file.ts'
import { PRODUCE_AGAIN } from './produce-again.ts'

/** [token id, how often it is trained]. */
export type TokenCount = readonly [tokenId: number, count: number]

const Line = z.tuple([z.number().int().nonnegative(), z.number().int().positive()])

/** The counts as lines, most frequent first, equal ones by id: the order in which a draft vocabulary takes them. */
export function countsText(counts: readonly TokenCount[]): { readonly text: string; readonly count: number } {
  const sorted = [...counts].sort(mostFrequentFirst)
  return { text: sorted.map((pair) => `${JSON.stringify(pair)}\n`).join(''), count: sorted.length }
}

/** The counts of all files together, most frequent first, equal ones by id. */
export async function readTokenCounts(files: readonly string[]): Promise<TokenCount[]> {
  const total = new Map<number, number>()
  for (const pairs of await Promise.all(files.map(readOne))) {
    for (const [id, count] of pairs) total.set(id, (total.get(id) ?? 0) + count)
  }
  return [...total].sort(mostFrequentFirst)
}

const mostFrequentFirst = ([idA, countA]: TokenCount, [idB, countB]: TokenCount): number => countB - countA || idA - idB

/** The counts in a file that a manifest's writer made of them. */
async function readOne(file: string): Promise<TokenCount[]> {
  const refuse = (found: string) =>
    finding('MANIFEST_INVALID', 'these cannot be the token counts', { file, found, fix: PRODUCE_AGAIN })
  const text = (await readTextOrNull(file, { refuse })) ?? ''
  return text.split('\n').flatMap((line) => (line === '' ? [] : [Line.parse(JSON.parse(line))]))
}
