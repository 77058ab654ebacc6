import { randomUUID } from 'node:crypto'
import type { Notes } from './notes.ts'

const FOLDER = 'epochs'

/** A number that one process makes generations with, and that no other process ever gets. */
export interface Epoch {
  readonly number: number
  /** False once another process has claimed a later epoch: there may be blobs this one does not know of. */
  newest(): Promise<boolean>
}

/**
 * Claims the next epoch: one note per epoch, whose exclusive creation is the claim.
 *
 * The greatest epoch's note always stays, so no number comes twice. Older notes are removed: that is how their owners learn
 * of a later claim.
 */
export async function claimEpoch(notes: Notes, above: number): Promise<Epoch> {
  let number = above
  for (;;) {
    number = Math.max(number, ...(await epochsIn(notes))) + 1
    const claim = `${FOLDER}/${number}`
    const mark = randomUUID()
    if (!(await notes.create(claim, mark))) continue
    // Recognised by its mark, not its number: a process that saw an older listing may make a removed one again.
    if (await isGreatest(notes, number)) return { number, newest: async () => (await notes.read(claim)) === mark }
    await notes.remove(claim)
  }
}

// Another process may have claimed a greater number meanwhile, from an older listing. Then ours may have been used before.
async function isGreatest(notes: Notes, number: number): Promise<boolean> {
  const all = await epochsIn(notes)
  if (Math.max(...all) > number) return false
  for (const older of all) if (older < number) await notes.remove(`${FOLDER}/${older}`)
  return true
}

async function epochsIn(notes: Notes): Promise<readonly number[]> {
  return (await notes.list(FOLDER)).filter((name) => /^[1-9]\d{0,15}$/.test(name)).map(Number)
}
