import type { Notes } from './notes.ts'

/** The members that hold leases or claims, by `keySegment`. Reads one note or folder per key, too slow for a get. */
export async function holdersOf(
  notes: Notes,
  part: 'leases' | 'claims',
): Promise<ReadonlyMap<string, readonly string[]>> {
  const held = new Map<string, readonly string[]>()
  for (const name of await notes.list(part)) {
    const note = `${part}/${name}`
    // A claim is one note that names its holder, and leases are a folder with one note for each holder.
    const found = part === 'claims' ? [(await notes.read(note)) ?? ''] : await notes.list(note)
    const holders = found.filter((holder) => /^m[0-9a-f]{16}$/.test(holder))
    if (holders.length > 0) held.set(name, holders)
  }
  return held
}
