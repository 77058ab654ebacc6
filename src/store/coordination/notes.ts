/**
 * Small texts with names, seen by all clients of a store, and the few atomic moves that claims, leases and heartbeats are
 * made of. A name is a path of two to four segments; each segment is letters, digits and `. _ : -`.
 *
 * Nothing here locks and nothing here knows what the notes mean. Every method works on NFS: exclusive creation, rename
 * and rmdir are the only things that must be atomic.
 */
export interface Notes {
  /** Puts a new note; whole or not at all. False when the name is taken. */
  create(name: string, text: string): Promise<boolean>
  /** Puts a new note into a folder that must hold nothing. False when something is in it. */
  createAlone(name: string, text: string): Promise<boolean>
  /** Puts or replaces a note, whole. Only for a note with one writer. */
  write(name: string, text: string): Promise<void>
  read(name: string): Promise<string | null>
  /** Whether the note is there. Costs less than to read it. */
  has(name: string): Promise<boolean>
  /** One step; false when `from` is gone, so of several that move one note, one wins. Replaces what `to` was. */
  move(from: string, to: string): Promise<boolean>
  /** False when it was not there. */
  remove(name: string): Promise<boolean>
  /** Puts an empty note, unless it is there already. Then, whether `sign` is there, a note in the same folder. */
  enter(name: string, sign: string): Promise<boolean>
  /** Removes a note, and its folder when nothing else is in it. Then, whether `sign` is there, a note elsewhere. */
  leave(name: string, sign: string): Promise<boolean>
  /** Removes a folder that holds nothing. False when something is in it; true also when there is none. */
  removeFolder(folder: string): Promise<boolean>
  /** The last segments of the names in a folder: notes and folders. */
  list(folder: string): Promise<readonly string[]>
  /** A sign of life, for a note with text in it. False when the note is gone. */
  touch(name: string): Promise<boolean>
  /** Milliseconds since the last write or touch, by the clock of the store itself. Null when the note is gone. */
  age(name: string): Promise<number | null>
}
