import { z } from 'zod'

export type AuthMode = 'none' | 'mac' | 'seal'

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`))
/** What store.json says of a key: the salt it is derived with, and a check value and id by which the right key is recognised. */
const KeyMark = { salt: hex(32), check: hex(32), keyId: hex(8) }

/**
 * `auth` in store.json. `rekey` is there while the store changes to a new key: what is said of the new key, and the old
 * key, encrypted under the new one.
 */
const Keyed = z.strictObject({
  mode: z.enum(['mac', 'seal']),
  ...KeyMark,
  rekey: z.strictObject({ ...KeyMark, wrapped: z.string().regex(/^[0-9a-f]{2,512}$/) }).optional(),
})
export type KeyedRecord = z.output<typeof Keyed>

export const AuthRecord = z.discriminatedUnion('mode', [z.strictObject({ mode: z.literal('none') }), Keyed])
export type AuthRecord = z.output<typeof AuthRecord>
