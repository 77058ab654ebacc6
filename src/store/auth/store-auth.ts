import { randomBytes } from 'node:crypto'
import type { Python } from '../../bridge/python.ts'
import { type CodedError, finding } from '../../core/errors.ts'
import type { StoreId } from '../../core/ids.ts'
import { givesKey, STORE_KEY_ENV } from '../../core/store-key-env.ts'
import type { AuthMode, AuthRecord, KeyedRecord } from './auth-record.ts'

/** How a store is protected, and where its key is. Without a file the key is in DRAFTBRIDGE_STORE_KEY. */
export interface StoreAuth {
  readonly mode: AuthMode
  readonly keyFile?: string | null
}

/** Checks that a process may open a store, before anything of it is made, read or changed. */
export interface Admission {
  /** The `auth` of a new store. */
  begin(id: StoreId): Promise<AuthRecord>
  /** @throws STORE_AUTH unless the store is protected as expected and the key is its own. */
  admit(id: StoreId, record: AuthRecord, file: string): Promise<void>
}

/** For a store without a key. */
export const NO_KEY: Admission = {
  begin: async () => ({ mode: 'none' }),
  admit: async (_, record, file) => {
    if (record.mode !== 'none') throw modesDiffer('none', record.mode, file)
  },
}

/** The key of one store. Its bytes are in Python; this is a handle. */
export class StoreKey implements AsyncDisposable {
  readonly handle: number
  readonly mode: KeyedRecord['mode']
  readonly id: string
  readonly check: string
  readonly #python: Python

  private constructor(python: Python, mode: KeyedRecord['mode'], opened: Opened) {
    this.handle = opened.handle
    this.mode = mode
    this.id = opened.keyId
    this.check = opened.check
    this.#python = python
  }

  static async open(python: Python, { mode, keyFile = null }: KeyedAuth, id: StoreId, salt: string): Promise<StoreKey> {
    const source = { file: keyFile, env: STORE_KEY_ENV }
    return new StoreKey(python, mode, await python.call('key.open', { source, mode, storeId: id, salt }))
  }

  /** Reads the key from the file only; the environment is ignored. */
  static async openFile(python: Python, { mode, keyFile }: KeyedAuth, id: StoreId, salt: string): Promise<StoreKey> {
    const source = { file: keyFile ?? null, env: null }
    return new StoreKey(python, mode, await python.call('key.open', { source, mode, storeId: id, salt }))
  }

  /** `hmac_sha256:<hex>` over the root of a manifest. */
  async sign(text: string): Promise<string> {
    return (await this.#python.call('key.mac', { key: this.handle, text })).mac
  }

  async verify(text: string, mac: string): Promise<boolean> {
    return (await this.#python.call('key.verify', { key: this.handle, text, mac })).ok
  }

  /** Also accepts objects under the old key, which `wrap` of this key has encrypted. */
  async join({ wrapped }: { readonly wrapped: string }, oldSalt: string): Promise<void> {
    await this.#python.call('key.join', { key: this.handle, salt: oldSalt, wrapped })
  }

  async wrap(old: StoreKey): Promise<string> {
    return (await this.#python.call('key.wrap', { key: this.handle, other: old.handle })).wrapped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#python.call('handle.free', { handle: this.handle })
  }
}

interface Opened {
  readonly handle: number
  readonly check: string
  readonly keyId: string
}
export type KeyedAuth = StoreAuth & { readonly mode: KeyedRecord['mode'] }

export const newSalt = (): string => randomBytes(16).toString('hex')

/** The admission that a config describes. It owns the key until `take` hands it over. */
export class KeyAdmission implements Admission, AsyncDisposable {
  readonly #python: Python
  readonly #auth: StoreAuth
  #key: StoreKey | null = null

  constructor(python: Python, auth: StoreAuth) {
    this.#python = python
    this.#auth = auth
  }

  /** The key of the store that was admitted; the caller owns it from now on. Null for a store without a key. */
  take(): StoreKey | null {
    const key = this.#key
    this.#key = null
    return key
  }

  async begin(id: StoreId): Promise<AuthRecord> {
    const { mode } = this.#auth
    if (mode === 'none') return this.#withoutKey(null)
    const salt = newSalt()
    await using key = await StoreKey.open(this.#python, { ...this.#auth, mode }, id, salt)
    return { mode, salt, check: key.check, keyId: key.id }
  }

  async admit(id: StoreId, record: AuthRecord, file: string): Promise<void> {
    const { mode } = this.#auth
    if (mode === 'none' && record.mode === 'none') this.#withoutKey(file)
    if (mode !== record.mode) throw modesDiffer(mode, record.mode, file)
    if (mode === 'none' || record.mode === 'none') return
    await this[Symbol.asyncDispose]()
    this.#key = await keyOf(this.#python, { ...this.#auth, mode }, id, record, file)
  }

  // A key that is given demands a keyed store: store.json may have been replaced by one that says there is no key.
  #withoutKey(file: string | null): AuthRecord {
    const { keyFile = null } = this.#auth
    if (keyFile === null && !givesKey()) return { mode: 'none' }
    throw keyUnused(keyFile ?? STORE_KEY_ENV, file)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.take()?.[Symbol.asyncDispose]()
  }
}

/** Opens the given key and compares it with the store's; during a change of keys, with the old and the new one. */
async function keyOf(
  python: Python,
  auth: KeyedAuth,
  id: StoreId,
  record: KeyedRecord,
  file: string,
): Promise<StoreKey> {
  const key = await StoreKey.open(python, auth, id, record.salt)
  if (key.check === record.check) return key
  await key[Symbol.asyncDispose]()
  if (record.rekey === undefined) throw wrongKey(key.id, record.keyId, file)
  const next = await StoreKey.open(python, auth, id, record.rekey.salt)
  try {
    if (next.check !== record.rekey.check) throw wrongKey(key.id, `${record.keyId}, soon ${record.rekey.keyId}`, file)
    await next.join(record.rekey, record.salt)
    return next
  } catch (error) {
    await next[Symbol.asyncDispose]()
    throw error
  }
}

const wrongKey = (given: string, own: string, file: string): CodedError =>
  finding('STORE_AUTH', 'this is not the key of the store', {
    file,
    field: 'auth.check',
    found: `a key with id ${given}; the store's has id ${own}`,
    fix: `give the key that the store was made with, in store.auth.keyFile or ${STORE_KEY_ENV}`,
  })

/** `file`: the store.json that has no key; null for a store that is not there yet. */
function keyUnused(source: string, file: string | null): CodedError {
  if (file === null) {
    return finding('STORE_AUTH', 'a key is given, but the store would be made without one', {
      field: 'store.auth.mode',
      found: `none, and a key in ${source}`,
      fix: 'set store.auth.mode to mac or seal; or give no key',
    })
  }
  return finding('STORE_AUTH', 'a key is given, but this store is not protected by one', {
    file,
    field: 'auth.mode',
    found: `none, and a key in ${source}`,
    fix: 'if the store was made with a key, somebody replaced store.json: restore it; if it never had one, give no key',
  })
}

function modesDiffer(wanted: AuthMode, found: AuthMode, file: string): CodedError {
  const where = { file, field: 'auth.mode', found: `${found}; store.auth.mode is ${wanted}` }
  if (wanted === 'none') {
    const fix = `set store.auth.mode to ${found}, and name the key in store.auth.keyFile or ${STORE_KEY_ENV}`
    return finding('STORE_AUTH', 'this store is protected by a key', { ...where, fix })
  }
  const what = found === 'none' ? 'this store is not protected' : 'this store is protected in another way'
  const fix = `if it was made with mode ${found}, set store.auth.mode to that; if not, somebody replaced store.json: restore it`
  return finding('STORE_AUTH', what, { ...where, fix })
}
