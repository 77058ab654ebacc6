import type { Notes } from './notes.ts'

/**
 * A member's right to change what all clients of a store see. A fence ends it: each call takes effect before the fence
 * or not at all, even if the process was stopped in the middle of the call and wakes up much later.
 *
 * Blobs publish through this right. Blobs that are files may use the `MemberFolder` of a directory instead.
 */
export interface PublishRight {
  /** Puts a new note, whole. `text` must not be empty. False when the name is taken. Throws once this member is fenced. */
  publish(name: string, text: string): Promise<boolean>
  /** Puts a note, whole, in place of what has its name. Throws once this member is fenced. */
  publishOver(name: string, text: string): Promise<void>
  /** Removes a note. False when it was not there. Throws once this member is fenced. */
  withdraw(name: string): Promise<boolean>
}

/**
 * One client's access to the small facts that all clients of a store share: notes, and a place for each member. Leases,
 * claims, epochs and the count of bytes are written once, on top of this port (see the other files of this folder).
 * It knows nothing of blobs.
 */
export interface Coordination extends PublishRight {
  /** The id of this client, which no other ever gets: `m` and 16 hex digits. */
  readonly memberId: string
  /** Members may live in other processes, so each must show that it is alive. */
  readonly spansProcesses: boolean
  readonly notes: Notes
  /**
   * Puts a note that has this member's id as its text. False when something else has the name; true when this
   * member has signed it before. Cheaper than `publish`, but a fence does not prevent it.
   */
  sign(name: string): Promise<boolean>
  /** As `sign`, but the note's text is `nobody`, and repeated it may say false. */
  signAway(name: string): Promise<boolean>
  /**
   * Makes this member's place, without which it can publish, withdraw, sign and write nothing. Call it before any of that; once,
   * or again after it failed.
   */
  enter(): Promise<void>
  /** Takes another member's place away: from here on it can publish and withdraw nothing. May be done again. */
  fence(memberId: string): Promise<void>
  /** Gives this member's own place back, with everything in it. */
  leave(): Promise<void>
  /**
   * Runs `task`, which frees room or must be done before any is freed. Where it fails with STORE_FULL, it is run again, in
   * room that the store keeps for this. So a task that failed must be repeatable, and must not call this itself.
   */
  inReserve<T>(task: () => Promise<T>): Promise<T>
}

/**
 * A folder of one member's own, on the file system of the store. A fence renames it away, so a file can be linked out of
 * it, or renamed into it, only while its member has not been fenced.
 */
export interface MemberFolder {
  readonly dir: string
  /** A path in the folder. */
  file(name: string): string
  /** Removes a file of the store by way of this folder. Its bytes; 0 when it was not there. */
  removeThrough(file: string): Promise<number>
}
