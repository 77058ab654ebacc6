import { type BlobKey, keySegment } from '../blob-key.ts'
import type { Notes } from './notes.ts'

const FOLDER = 'claims'
const LATER_TURN = /^(.+\.\d+):([1-9]\d{0,8})$/

/** The text of a turn that gives the sample back. */
export const NOBODY = 'nobody'

/** The note of one turn of the claims on a sample: `claims/k` for turn 0, then `claims/k:1`, `claims/k:2` and so on. */
export const claimNote = (key: BlobKey, turn: number): string => turnNote(keySegment(key), turn)

export const turnNote = (segment: string, turn: number): string =>
  turn === 0 ? `${FOLDER}/${segment}` : `${FOLDER}/${segment}:${turn}`

export const consumedNote = (key: BlobKey): string => `consumed/${keySegment(key)}`

/** The last turn on each sample that has any, by `keySegment`. Lists all claims: too slow for a get. */
export async function lastTurns(notes: Notes): Promise<ReadonlyMap<string, number>> {
  const last = new Map<string, number>()
  for (const name of await notes.list(FOLDER)) {
    // The segment of a key ends with a dot and digits, so it never looks like a later turn.
    const [, segment = name, digits = '0'] = LATER_TURN.exec(name) ?? []
    last.set(segment, Math.max(Number(digits), last.get(segment) ?? 0))
  }
  return last
}
