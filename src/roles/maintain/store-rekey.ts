import { lazyPython } from '../../bridge/lazy-python.ts'
import type { Python } from '../../bridge/python.ts'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import type { WaitOptions } from '../../core/liveness/watch.ts'
import { resignManifest } from '../../refs/root/resign-manifest.ts'
import type { KeyedRecord } from '../../store/auth/auth-record.ts'
import { newSalt, StoreKey } from '../../store/auth/store-auth.ts'
import { type MaintenanceStore, openRekeyFiles, type RekeyFiles } from '../../store/open-for-maintenance.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'

export interface RekeyOptions {
  readonly newKeyFile: string
  /** All manifests of the store: a manifest that is not named cannot be read with the new key. */
  readonly manifests: readonly string[]
  readonly signal: AbortSignal
  /** Called while members of the store that cannot be seen from here are watched. */
  readonly onWait?: WaitOptions['onWait']
  readonly onProgress?: (objects: number) => void
}

export interface RekeyReport {
  readonly store: string
  readonly keyId: string
  /** Objects that this call rewrote; fewer than `objects` when an earlier call was interrupted. */
  readonly rewritten: number
  readonly objects: number
  readonly manifests: number
}

/**
 * Changes the key of a store; the mode (mac or seal) stays. First store.json accepts both keys, then every object and the
 * given manifests are rewritten, then store.json accepts only the new key. An interrupted call resumes when it is repeated,
 * whether the configured key is the old one or the new one.
 * @throws STORE_BUSY while other processes have the store open: they would go on writing with the old key.
 */
export async function rekeyStore(location: StoreLocation, options: RekeyOptions): Promise<RekeyReport> {
  const finished = await finishedBefore(location, options)
  if (finished !== null) return finished
  const python = lazyPython
  await using store = await openStoreLocation(location)
  const { parts, key: from } = store
  const files = openRekeyFiles(python, store)
  const record = await files.record()
  if (from === null || record === null) throw noKey(files.file)
  const { signal, onWait } = options
  await parts.members.settle({ signal, ...(onWait === undefined ? {} : { onWait }) })
  await requireNoOtherMember(store)
  await parts.members.join()
  await using to = await newKey(python, store, record, options.newKeyFile, files.file)
  const mark = { salt: to.salt, check: to.key.check, keyId: to.key.id }
  const { mode, salt, check, keyId } = record
  if (record.rekey === undefined) {
    const wrapped = await to.key.wrap(from)
    await files.replaceRecord({ mode, salt, check, keyId, rekey: { ...mark, wrapped } })
  }
  await to.key.join((await files.record())?.rekey ?? missingRekey(files.file), salt)
  const { rewritten, objects } = await rewriteAll(store, files, { from, to: to.key }, options)
  for (const dir of options.manifests) await resignManifest(dir, parts.id, to.key)
  await requireNoOtherMember(store)
  await files.replaceRecord({ mode, ...mark })
  return { store: parts.id, keyId: mark.keyId, rewritten, objects, manifests: options.manifests.length }
}

/** The report of an earlier call that finished but was killed before it returned: the store then accepts only the new key. */
async function finishedBefore(location: StoreLocation, { newKeyFile }: RekeyOptions): Promise<RekeyReport | null> {
  const authError = await openStoreLocation(location).then((store) => store[Symbol.asyncDispose](), asAuthError)
  if (authError === undefined) return null
  const opened = await openStoreLocation({ ...location, keyFile: newKeyFile }).catch(() => {
    throw authError
  })
  await using store = opened
  const record = await openRekeyFiles(lazyPython, store).record()
  if (store.key === null || record === null || record.rekey !== undefined) throw authError
  let objects = 0
  for await (const _ of store.files.objects()) objects += 1
  return { store: store.parts.id, keyId: store.key.id, rewritten: 0, objects, manifests: 0 }
}

function asAuthError(error: unknown): CodedError {
  if (hasCode(error, 'STORE_AUTH')) return error
  throw error
}

interface NewKey extends AsyncDisposable {
  readonly key: StoreKey
  readonly salt: string
}

async function newKey(
  python: Python,
  { parts }: MaintenanceStore,
  record: KeyedRecord,
  keyFile: string,
  file: string,
): Promise<NewKey> {
  const auth = { mode: record.mode, keyFile }
  {
    await using same = await StoreKey.openFile(python, auth, parts.id, record.salt)
    if (same.check === record.check) throw sameKey(keyFile)
  }
  const salt = record.rekey?.salt ?? newSalt()
  const key = await StoreKey.openFile(python, auth, parts.id, salt)
  if (record.rekey === undefined || record.rekey.check === key.check) {
    return { key, salt, [Symbol.asyncDispose]: () => key[Symbol.asyncDispose]() }
  }
  await key[Symbol.asyncDispose]()
  throw finding('STORE_AUTH', 'the key of this store is already being changed to another key', {
    file,
    field: 'auth.rekey',
    found: `an unfinished change to the key with id ${record.rekey.keyId}`,
    fix: 'finish that change first: run `store rekey` with the file of that key',
  })
}

interface Keys {
  readonly from: StoreKey
  readonly to: StoreKey
}

/** Repeats until a pass rewrites nothing: a process may have put a sample during the previous pass. */
async function rewriteAll(store: MaintenanceStore, files: RekeyFiles, keys: Keys, options: RekeyOptions) {
  let rewritten = 0
  for (;;) {
    const { changed, objects } = await rewriteOnce(store, files, keys, options)
    rewritten += changed
    if (changed === 0) return { rewritten, objects }
  }
}

async function rewriteOnce(
  { files: inventory }: MaintenanceStore,
  files: RekeyFiles,
  { from, to }: Keys,
  { signal, onProgress }: RekeyOptions,
) {
  let [changed, objects] = [0, 0]
  const bad: CodedError[] = []
  for await (const { file } of inventory.objects()) {
    signal.throwIfAborted()
    try {
      changed += Number(await files.rewrite(file, from, to))
    } catch (error) {
      if (!hasCode(error, 'SAMPLE_CORRUPT', 'STORE_AUTH')) throw error
      bad.push(error)
    }
    objects += 1
    onProgress?.(objects)
  }
  await files.sync()
  if (bad.length > 0) throw failedCheck(bad)
  return { changed, objects }
}

// Other members would go on writing with the old key, and would reject the rewritten objects as forged.
async function requireNoOtherMember({ parts: { members } }: MaintenanceStore): Promise<void> {
  for (const member of await members.all()) {
    if (member === members.id || (await members.dead(member))) continue
    throw finding('STORE_BUSY', 'the key of a store cannot be changed while other processes have it open', {
      found: await members.describe(member),
      fix: 'end that process, then run the command again; it resumes where it stopped',
    })
  }
}

function missingRekey(file: string): never {
  throw finding('STORE_UNAVAILABLE', 'another process replaced store.json while the key was being changed', {
    file,
    found: 'no auth.rekey',
    fix: 'restore store.json from a backup, then run the command again',
  })
}

const noKey = (file: string): CodedError =>
  finding('STORE_AUTH', 'this store has no key, so there is no key to change', {
    file,
    field: 'auth.mode',
    found: 'none',
    fix: 'the mode cannot be changed; to use mac or seal, ingest into a new store',
  })

const sameKey = (file: string): CodedError =>
  finding('CONFIG_INVALID', 'the store already has this key', {
    file,
    fix: 'make a new key with: (umask 077; openssl rand -hex 32 > FILE)',
  })

function failedCheck(bad: readonly CodedError[]): CodedError {
  const fix = 'run `store verify`, which moves them to quarantine/; then run this command again'
  const found = `${bad.length} such objects; the first: ${bad[0]?.message.split('\n').slice(0, 2).join('; ') ?? ''}`
  return finding('SAMPLE_CORRUPT', 'some objects fail the check with the old key, so they cannot be rewritten', {
    found,
    fix,
  })
}
