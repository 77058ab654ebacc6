/**
 * Small named texts that all clients of a store see, and the few atomic steps that claims, leases and heartbeats are built
 * from. A name is a path of two to four segments; each segment is letters, digits and `. _ : -`.
 *
 * There are no locks, and the meaning of a note is its user's. Every method works on NFS: only exclusive creation, rename
 * and rmdir have to be atomic.
 */
export interface Notes {
  /** Creates a note; whole or not at all. False when the name is taken. */
  create(name: string, text: string): Promise<boolean>
  /** Creates a note in a folder that must be empty. False when something is in it. */
  createAlone(name: string, text: string): Promise<boolean>
  /** Creates or replaces a note, whole. Only for a note with one writer. */
  write(name: string, text: string): Promise<void>
  read(name: string): Promise<string | null>
  /** Whether the note is there. Cheaper than `read`. */
  has(name: string): Promise<boolean>
  /** Renames a note in one step and replaces `to`. False when `from` is gone: of several clients that move one note, one wins. */
  move(from: string, to: string): Promise<boolean>
  /** False when it was not there. */
  remove(name: string): Promise<boolean>
  /** Creates an empty note unless it is there already. False when a note has the name of the folder. */
  enter(name: string): Promise<boolean>
  /** Removes a note, and its folder if that is empty then, and returns whether the note `sign` elsewhere is there. */
  leave(name: string, sign: string): Promise<boolean>
  /** Whether there is a note, and not a folder, of this name. */
  isNote(name: string): Promise<boolean>
  /** Removes an empty folder. False when something is in it; true also when there is no such folder. */
  removeFolder(folder: string): Promise<boolean>
  /** The names in a folder, without their path: notes and folders. None when a note has the name. */
  list(folder: string): Promise<readonly string[]>
  /** Replaces the text of a note by one of the same length, not in one step. False when the note is gone: none is made. */
  rewrite(name: string, text: string): Promise<boolean>
}
