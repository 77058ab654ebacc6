import type { Members } from '../coordination/members.ts'
import type { Notes } from '../coordination/notes.ts'

/** Space for one put. The caller calls exactly one of the two methods, once. */
export interface Reservation {
  /** The object is published and takes up `bytes`. */
  commit(bytes: number): Promise<void>
  /** Nothing was published. */
  cancel(): Promise<void>
}

export interface SpaceUsage {
  readonly bytes: number
  /** Null: no bound. */
  readonly quota: number | null
}

/** Counts the bytes of a store. */
export interface Space {
  /** Finds out whether the store's bytes are counted, and begins to count when there is a quota. Call it after joining. */
  open(): Promise<void>
  /** @throws STORE_OVER_BUDGET when the quota does not allow `bytes` more. */
  reserve(bytes: number): Promise<Reservation>
  /** Call it before a removal, and the function that it returns after the removal, with the bytes that became free. */
  freeing(): (bytes: number) => Promise<void>
  usage(): Promise<SpaceUsage>
  /** The recorded count, or null where none is kept. */
  recorded(): Promise<SpaceUsage | null>
  /** Counts the store anew, and forgets what dead processes had reserved. */
  recount(): Promise<void>
}

export type OpenSpace = (about: {
  readonly notes: Notes
  readonly members: Members
  /** Lists the store and adds up the bytes. */
  readonly count: () => Promise<number>
}) => Space

/** No bound and no count: `usage` has to list the store. */
export const unlimitedSpace = (count: () => Promise<number>): Space => ({
  open: async () => {},
  reserve: async () => ({ commit: async () => {}, cancel: async () => {} }),
  freeing: () => async () => {},
  usage: async () => ({ bytes: await count(), quota: null }),
  recorded: async () => null,
  recount: async () => {},
})
