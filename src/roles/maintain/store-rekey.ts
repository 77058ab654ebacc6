import { lazyPython } from '../../bridge/lazy-python.ts'
import type { Python } from '../../bridge/python.ts'
import { type CodedError, finding, hasCode } from '../../core/errors.ts'
import { resignManifest } from '../../refs/root/resign-manifest.ts'
import type { KeyedRecord } from '../../store/auth/auth-record.ts'
import { newSalt, StoreKey } from '../../store/auth/store-auth.ts'
import { openRekeyFiles, type RekeyFiles, type StoreCare } from '../../store/open-for-care.ts'

import { openStorePlace, type StorePlace } from './store-place.ts'

export interface RekeyOptions {
  readonly newKeyFile: string
  /** All manifests of the store: one that is not named cannot be read any more afterwards. */
  readonly manifests: readonly string[]
  readonly signal: AbortSignal
  readonly onProgress?: (objects: number) => void
}

export interface RekeyReport {
  readonly store: string
  readonly keyId: string
  /** Rewritten now; less than all when an earlier run was cut short. */
  readonly rewritten: number
  readonly objects: number
  readonly manifests: number
}

/**
 * Gives a store another key of the same mode: first store.json says that both keys hold, then every object and the given
 * manifests are rewritten, then only the new key holds. Cut short at any point, the same command goes on from there,
 * with the old key or the new one as the configured one.
 * @throws STORE_BUSY while others have the store open: what they write would be under the old key.
 */
export async function rekeyStore(place: StorePlace, options: RekeyOptions): Promise<RekeyReport> {
  const done = await doneBefore(place, options)
  if (done !== null) return done
  const python = lazyPython(place.onPython)
  await using care = await openStorePlace(place)
  const { parts, key: from } = care
  const files = openRekeyFiles(python, care)
  const record = await files.record()
  if (from === null || record === null) throw noKey(files.file)
  await expectNobody(care)
  await parts.members.join()
  await using to = await newKey(python, care, record, options.newKeyFile, files.file)
  const mark = { salt: to.salt, check: to.key.check, keyId: to.key.id }
  const { mode, salt, check, keyId } = record
  if (record.rekey === undefined) {
    const wrapped = await to.key.wrap(from)
    await files.replaceRecord({ mode, salt, check, keyId, rekey: { ...mark, wrapped } })
  }
  await to.key.join((await files.record())?.rekey ?? missingRekey(files.file), salt)
  const { rewritten, objects } = await rewriteAll(care, files, { from, to: to.key }, options)
  for (const dir of options.manifests) await resignManifest(dir, parts.id, to.key)
  await expectNobody(care)
  await files.replaceRecord({ mode, ...mark })
  return { store: parts.id, keyId: mark.keyId, rewritten, objects, manifests: options.manifests.length }
}

/** The last step may be taken and its report lost: then the old key is refused and the new one is the store's. */
async function doneBefore(place: StorePlace, { newKeyFile }: RekeyOptions): Promise<RekeyReport | null> {
  const refused = await openStorePlace(place).then((care) => care[Symbol.asyncDispose](), asRefusal)
  if (refused === undefined) return null
  const opened = await openStorePlace({ ...place, keyFile: newKeyFile }).catch(() => {
    throw refused
  })
  await using care = opened
  const record = await openRekeyFiles(lazyPython(place.onPython), care).record()
  if (care.key === null || record === null || record.rekey !== undefined) throw refused
  let objects = 0
  for await (const _ of care.files.objects()) objects += 1
  return { store: care.parts.id, keyId: care.key.id, rewritten: 0, objects, manifests: 0 }
}

function asRefusal(error: unknown): CodedError {
  if (hasCode(error, 'STORE_AUTH')) return error
  throw error
}

interface NewKey extends AsyncDisposable {
  readonly key: StoreKey
  readonly salt: string
}

async function newKey(
  python: Python,
  { parts }: StoreCare,
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
  throw finding('STORE_AUTH', 'this store is just being given another key', {
    file,
    field: 'auth.rekey',
    found: `a rekey to the key with id ${record.rekey.keyId}`,
    fix: 'finish that one first: run `store rekey` with its key file',
  })
}

interface Keys {
  readonly from: StoreKey
  readonly to: StoreKey
}

/** Again until a pass finds nothing to do: a sample may have been put while the first one ran. */
async function rewriteAll(care: StoreCare, files: RekeyFiles, keys: Keys, options: RekeyOptions) {
  let rewritten = 0
  for (;;) {
    const { changed, objects } = await rewriteOnce(care, files, keys, options)
    rewritten += changed
    if (changed === 0) return { rewritten, objects }
  }
}

async function rewriteOnce(
  { files: inventory }: StoreCare,
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
  if (bad.length > 0) throw unconfirmed(bad)
  return { changed, objects }
}

// They would go on writing under the old key, and take what is rewritten for forged.
async function expectNobody({ parts: { members } }: StoreCare): Promise<void> {
  for (const member of await members.all()) {
    if (member === members.id || (await members.dead(member))) continue
    throw finding('STORE_BUSY', 'a store is given a new key while nobody else has it open', {
      found: await members.describe(member),
      fix: 'end that process and run the command again; it goes on where it stopped',
    })
  }
}

function missingRekey(file: string): never {
  throw finding('STORE_UNAVAILABLE', 'store.json was replaced while the store was given a new key', {
    file,
    found: 'no auth.rekey',
    fix: 'restore it from a backup, and run the command again',
  })
}

const noKey = (file: string): CodedError =>
  finding('STORE_AUTH', 'this store has no key to be changed', {
    file,
    field: 'auth.mode',
    found: 'none',
    fix: 'a key is changed from mac to mac and from seal to seal only; for another mode ingest into a new store',
  })

const sameKey = (file: string): CodedError =>
  finding('CONFIG_INVALID', 'the new key is the one that the store has', {
    file,
    fix: 'make a new one with: (umask 077; openssl rand -hex 32 > FILE)',
  })

function unconfirmed(bad: readonly CodedError[]): CodedError {
  const fix = 'run `store verify`, which takes them out of the store; then run this command again'
  const found = `${bad.length} such objects; the first: ${bad[0]?.message.split('\n').slice(0, 2).join('; ') ?? ''}`
  return finding('SAMPLE_CORRUPT', 'objects that the old key does not confirm get no new one', { found, fix })
}
