import { createHash } from 'node:crypto'

/** A number for the stream of random numbers of one answer: the same whatever else is written beside it. */
export function seedOf(seed: number, id: string, turn: number): number {
  return createHash('sha256').update(`${seed} ${turn} ${id}`).digest().readUIntBE(0, 6)
}
