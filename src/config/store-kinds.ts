/** What the program may ask about a kind of store. A new kind is one row here and one in `store/kinds.ts`. */
export interface StoreTraits {
  /** Other processes can open the same store: producers and consumers of their own, manifests and keys need that. */
  readonly shared: boolean
  /** `store.root` is a directory that must be writable, with a store.json in it. */
  readonly directory: boolean
}

const kinds = {
  local: { shared: false, directory: false },
  'shared-dir': { shared: true, directory: true },
} as const satisfies Record<string, StoreTraits>

export type StoreKind = keyof typeof kinds
export const storeKinds = Object.keys(kinds) as StoreKind[]
export const traitsOf = ({ kind }: { readonly kind: StoreKind }): StoreTraits => kinds[kind]
/** For messages: the kinds that several processes can open. */
export const sharedKinds = storeKinds.filter((kind) => kinds[kind].shared).join(' or ')
