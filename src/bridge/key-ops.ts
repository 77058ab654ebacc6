import { z } from 'zod'
import { Handle, Nothing, op } from './op.ts'

const Salt = z.string().regex(/^[0-9a-f]{32}$/)
const Text = z.strictObject({ key: Handle, text: z.string() })

/** Ops on the key of a store. Its bytes never leave Python: Node has a handle, which `handle.free` frees. */
export const keyOps = {
  'key.open': op(
    'io',
    z.strictObject({
      /** A path and the name of an environment variable. If both are given, they must contain the same key. */
      source: z.strictObject({ file: z.string().nullable(), env: z.string().nullable() }),
      mode: z.enum(['mac', 'seal']),
      storeId: z.string(),
      salt: Salt,
    }),
    z.strictObject({ handle: Handle, check: z.string(), keyId: z.string() }),
  ),
  'key.mac': op('io', Text, z.strictObject({ mac: z.string() })),
  'key.verify': op('io', Text.extend({ mac: z.string() }), z.strictObject({ ok: z.boolean() })),
  /** Encrypts the key `other` under `key`. */
  'key.wrap': op('io', z.strictObject({ key: Handle, other: Handle }), z.strictObject({ wrapped: z.string() })),
  /** Makes `key` also accept what was signed or sealed under the key in `wrapped`. */
  'key.join': op('io', z.strictObject({ key: Handle, salt: Salt, wrapped: z.string() }), Nothing),
} as const
