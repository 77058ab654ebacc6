import { z } from 'zod'

export type AuthMode = 'none' | 'mac' | 'seal'

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`))
/** A key as store.json knows it: what it is mixed with, and by what the right one is told from others. */
const KeyMark = { salt: hex(32), check: hex(32), keyId: hex(8) }

/**
 * `auth` in store.json. `rekey` is there while the store is given a new key: the mark of the new one, and the old one
 * wrapped so that only holders of the new one can take it out.
 */
const Keyed = z.strictObject({
  mode: z.enum(['mac', 'seal']),
  ...KeyMark,
  rekey: z.strictObject({ ...KeyMark, wrapped: z.string().regex(/^[0-9a-f]{2,512}$/) }).optional(),
})
export type KeyedRecord = z.output<typeof Keyed>

export const AuthRecord = z.discriminatedUnion('mode', [z.strictObject({ mode: z.literal('none') }), Keyed])
export type AuthRecord = z.output<typeof AuthRecord>
