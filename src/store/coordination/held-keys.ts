import { lastTurns, turnNote } from './claim-notes.ts'
import type { Notes } from './notes.ts'

const MEMBER = /^m[0-9a-f]{16}$/

/** The members that hold leases or claims, by `keySegment`. Reads one note or folder per key, too slow for a get. */
export async function holdersOf(
  notes: Notes,
  part: 'leases' | 'claims',
): Promise<ReadonlyMap<string, readonly string[]>> {
  const held = new Map<string, readonly string[]>()
  for (const [segment, found] of part === 'claims' ? await claimants(notes) : await borrowers(notes)) {
    const holders = found.filter((holder) => MEMBER.test(holder))
    if (holders.length > 0) held.set(segment, holders)
  }
  return held
}

async function borrowers(notes: Notes): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>()
  for (const segment of await notes.list('leases')) found.set(segment, await notes.list(`leases/${segment}`))
  return found
}

async function claimants(notes: Notes): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>()
  for (const [segment, last] of await lastTurns(notes)) {
    found.set(segment, [(await notes.read(turnNote(segment, last))) ?? ''])
  }
  return found
}
