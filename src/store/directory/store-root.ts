import { randomBytes, randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../core/errors.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'
import { storageError, unavailable } from '../../core/files/storage-error.ts'
import { StoreId } from '../../core/ids.ts'
import { type Admission, NO_KEY } from '../auth/store-auth.ts'
import { type NameCalls, nameCallsFor, remoteCalls } from './name-calls.ts'
import { createStoreFile, readStoreFile, type StoreAbout, storeFileOf } from './store-file.ts'

const STAGING = 'staging'
const NOTES = 'notes'
const RESERVE = 'reserve'

/** The directory of a store, and the folders that coordination uses in it. Blobs that are files have folders of their own. */
export interface StoreRoot {
  readonly id: StoreId
  readonly dir: string
  readonly staging: string
  readonly notes: string
  readonly reserve: string
  readonly calls: NameCalls
}

export interface AttachOptions {
  /** Create the store and its folders if they do not exist. */
  readonly create: boolean
  /** Called before anything is created; throws if this key may not open the store. Default: only a store without a key. */
  readonly admission?: Admission
  /** Folders of the blobs: `needed` ones must exist, `optional` ones are created at their first use. */
  readonly needed?: readonly string[]
  readonly optional?: readonly string[]
}

/**
 * Opens the store at `dir`. Two processes that create it at once end up with one store id, because `store.json` is
 * published last and exclusively.
 */
export async function attachRoot(dir: string, options: AttachOptions): Promise<StoreRoot> {
  const { create, admission = NO_KEY, needed = [], optional = [] } = options
  try {
    if (!create) await expectRoot(dir)
    const file = storeFileOf(dir)
    const found = await readStoreFile(file)
    if (found !== null) await admission.admit(found.storeId, found.auth, file)
    else if (!create) throw noStore(dir, 'no store.json in it')
    const fresh = found === null ? await newStore(admission) : null
    await makeDirectories(dir)
    for (const name of [...needed, STAGING, NOTES]) await requirePlainDirectory(path.join(dir, name), create)
    for (const name of [...optional, RESERVE]) await isPlainDirectory(path.join(dir, name))
    const staging = path.join(dir, STAGING)
    const id = found?.storeId ?? (await publish(dir, staging, fresh, admission))
    const [notes, reserve] = [path.join(dir, NOTES), path.join(dir, RESERVE)]
    return { id, dir, staging, notes, reserve, calls: await nameCallsFor(dir) }
  } catch (error) {
    throw storageError(error, dir)
  }
}

async function newStore(admission: Admission): Promise<StoreAbout> {
  const storeId = StoreId.parse(`store-${randomBytes(8).toString('hex')}`)
  return { storeId, auth: await admission.begin(storeId) }
}

// Another process may have been first: then its store.json counts, and this process must fit it.
async function publish(
  root: string,
  staging: string,
  fresh: StoreAbout | null,
  admission: Admission,
): Promise<StoreId> {
  const file = storeFileOf(root)
  if (fresh !== null) await createStoreFile(file, path.join(staging, `${randomUUID()}.store.json`), fresh)
  const published = await readStoreFile(file)
  if (published === null) throw noStore(root, 'store.json vanished while it was opened')
  await admission.admit(published.storeId, published.auth, file)
  return published.storeId
}

/** @throws STORE_UNAVAILABLE unless `dir` is a directory. A link to one is an error: it would lead out of the store. */
export async function requirePlainDirectory(dir: string, create: boolean, calls = remoteCalls): Promise<void> {
  if (await isPlainDirectory(dir, calls)) return
  if (create) {
    // Folders of a store lie at most two levels below it, and the store itself is made by `attachRoot` only.
    await makeDirectories(dir, 0o700, path.dirname(path.dirname(dir)))
    await remoteCalls.syncFolder(path.dirname(dir))
    if (await isPlainDirectory(dir)) return
  }
  const fix = 'restore it, or open the store with create: true'
  throw unavailable('a directory of the store is missing', { file: dir, found: 'nothing', fix })
}

/**
 * False if `dir` does not exist. Called before every use, because anyone who can write to the mount can plant a link at
 * any time.
 */
export async function isPlainDirectory(dir: string, calls = remoteCalls): Promise<boolean> {
  const info = await calls.stat(dir)
  if (info === null || info.isDirectory()) return info !== null
  const found = info.isSymbolicLink() ? 'a symbolic link' : 'something else'
  const fix = 'find out who put it there (only draftbridge should write here), and put a plain directory in its place'
  throw unavailable('a directory of the store is not a plain directory', { file: dir, found, fix })
}

async function expectRoot(root: string): Promise<void> {
  try {
    if (!(await stat(root)).isDirectory()) throw noStore(root, 'something that is not a directory')
  } catch (error) {
    throw isErrno(error, 'ENOENT') ? noStore(root, 'no such directory') : error
  }
}

function noStore(file: string, found: string): Error {
  const fix = 'check store.root and that the file system is mounted; a producer creates the store'
  return unavailable('there is no feature store here', { file, found, fix })
}
