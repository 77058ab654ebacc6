import { randomUUID } from 'node:crypto'
import type { Notes } from './notes.ts'

const FOLDER = 'epochs'

/** One process's turn at making generations: a number nobody had before and nobody gets again. */
export interface Epoch {
  readonly number: number
  /** False once another process has claimed a later epoch: there may be blobs this one does not know of. */
  newest(): Promise<boolean>
}

/**
 * Claims the next epoch: one note per epoch, whose exclusive creation is the claim.
 *
 * The greatest one always stays, so no number comes twice. Older ones are removed, and that is how their owner learns
 * of a later claim.
 */
export async function claimEpoch(notes: Notes, above: number): Promise<Epoch> {
  let number = above
  for (;;) {
    number = Math.max(number, ...(await epochsIn(notes))) + 1
    const claim = `${FOLDER}/${number}`
    const mark = randomUUID()
    if (!(await notes.create(claim, mark))) continue
    // By its mark, not by its number: one that was removed may be made again by somebody who saw an older listing.
    if (await isGreatest(notes, number)) return { number, newest: async () => (await notes.read(claim)) === mark }
    await notes.remove(claim)
  }
}

// Somebody who saw an older listing may have gone past us while we made ours; ours might then have been theirs before.
async function isGreatest(notes: Notes, number: number): Promise<boolean> {
  const all = await epochsIn(notes)
  if (Math.max(...all) > number) return false
  for (const older of all) if (older < number) await notes.remove(`${FOLDER}/${older}`)
  return true
}

async function epochsIn(notes: Notes): Promise<readonly number[]> {
  return (await notes.list(FOLDER)).filter((name) => /^[1-9]\d{0,15}$/.test(name)).map(Number)
}
