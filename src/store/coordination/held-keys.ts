import type { Notes } from './notes.ts'

/** Who has what, by the segment that notes call an object by. A listing for each: not for the path of a get. */
export async function holdersOf(
  notes: Notes,
  part: 'leases' | 'claims',
): Promise<ReadonlyMap<string, readonly string[]>> {
  const held = new Map<string, readonly string[]>()
  for (const name of await notes.list(part)) {
    const holders = (await notes.list(`${part}/${name}`)).filter((holder) => /^m[0-9a-f]{16}$/.test(holder))
    if (holders.length > 0) held.set(name, holders)
  }
  return held
}
