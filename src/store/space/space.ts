/** Room for one put. Exactly one of the two is called, once. */
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

/** Who counts the bytes of a store. */
export interface Space {
  /** Finds out whether somebody keeps books, and begins them where there is a quota. A member calls it once it is one. */
  open(): Promise<void>
  /** @throws STORE_OVER_BUDGET when there is no room for `bytes` more. */
  reserve(bytes: number): Promise<Reservation>
  /** Call it before a removal, and what it gives after it, with the bytes that became free. */
  freeing(): (bytes: number) => Promise<void>
  usage(): Promise<SpaceUsage>
  /** What is on the books, or null where nobody keeps any. */
  kept(): Promise<SpaceUsage | null>
  /** Counts the store anew, and forgets what dead processes had reserved. */
  recount(): Promise<void>
}

/** Room without bound. Nothing is written down, so `usage` has to list the store. */
export const unlimitedSpace = (count: () => Promise<number>): Space => ({
  open: async () => {},
  reserve: async () => ({ commit: async () => {}, cancel: async () => {} }),
  freeing: () => async () => {},
  usage: async () => ({ bytes: await count(), quota: null }),
  kept: async () => null,
  recount: async () => {},
})
