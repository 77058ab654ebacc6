import { randomBytes, randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../core/errors.ts'
import { makeDirectories } from '../../core/files/make-folder.ts'
import { storageError, unavailable } from '../../core/files/storage-error.ts'
import { StoreId } from '../../core/ids.ts'
import { type Gate, NO_KEY } from '../auth/store-auth.ts'
import { far, type NameCalls, nameCallsFor } from './name-calls.ts'
import { createStoreFile, readStoreFile, type StoreAbout, storeFileOf } from './store-file.ts'

/** The directories of a store. Only paths built from here are ever opened. */
export interface StoreRoot {
  readonly id: StoreId
  readonly objects: string
  readonly staging: string
  readonly quarantine: string
  readonly notes: string
  /** These two are made when they are first needed. */
  readonly extern: string
  readonly content: string
  readonly calls: NameCalls
}

/**
 * Opens the store at `root`; with `create` makes what is missing. Two processes that create it at once end up with one
 * store id, because `store.json` is published last and exclusively. `gate` decides before anything is made.
 */
export async function attachRoot(root: string, create: boolean, gate: Gate = NO_KEY): Promise<StoreRoot> {
  try {
    if (!create) await expectRoot(root)
    const file = storeFileOf(root)
    const found = await readStoreFile(file)
    if (found !== null) await gate.admit(found.storeId, found.auth, file)
    else if (!create) throw noStore(root, 'no store.json in it')
    const fresh = found === null ? await newStore(gate) : null
    await makeDirectories(root)
    const dirs = directoriesOf(root)
    for (const dir of [dirs.objects, dirs.staging, dirs.quarantine, dirs.notes]) await ownDirectory(dir, create)
    for (const dir of [dirs.extern, dirs.content]) await isPlainDirectory(dir)
    const id = found?.storeId ?? (await publish(root, dirs.staging, fresh, gate))
    return { id, ...dirs, calls: await nameCallsFor(root) }
  } catch (error) {
    throw storageError(error, root)
  }
}

function directoriesOf(root: string): Omit<StoreRoot, 'id' | 'calls'> {
  const dir = (name: string) => path.join(root, name)
  return {
    objects: dir('objects'),
    staging: dir('staging'),
    quarantine: dir('quarantine'),
    notes: dir('notes'),
    extern: dir('extern'),
    content: dir('content'),
  }
}

async function newStore(gate: Gate): Promise<StoreAbout> {
  const storeId = StoreId.parse(`store-${randomBytes(8).toString('hex')}`)
  return { storeId, auth: await gate.begin(storeId) }
}

// Somebody else may have been first; theirs counts, and we have to fit it.
async function publish(root: string, staging: string, fresh: StoreAbout | null, gate: Gate): Promise<StoreId> {
  const file = storeFileOf(root)
  if (fresh !== null) await createStoreFile(file, path.join(staging, `${randomUUID()}.store.json`), fresh)
  const published = await readStoreFile(file)
  if (published === null) throw noStore(root, 'store.json vanished while it was opened')
  await gate.admit(published.storeId, published.auth, file)
  return published.storeId
}

/** Makes sure that `dir` is a directory and not a link to one, which would lead reads and writes out of the store. */
export async function ownDirectory(dir: string, create: boolean, calls = far): Promise<void> {
  if (await isPlainDirectory(dir, calls)) return
  if (create) {
    await makeDirectories(dir)
    await far.syncFolder(path.dirname(dir))
    if (await isPlainDirectory(dir)) return
  }
  const fix = 'restore it, or open the store with create: true'
  throw unavailable('a directory of the store is missing', { file: dir, found: 'nothing', fix })
}

/**
 * False when there is nothing. A cheap look before every use, because whoever can write to the mount can plant a link at
 * any time.
 */
export async function isPlainDirectory(dir: string, calls = far): Promise<boolean> {
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
