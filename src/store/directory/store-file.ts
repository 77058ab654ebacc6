import { rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { unavailable } from '../../core/files/storage-error.ts'
import { StoreId } from '../../core/ids.ts'
import { AuthRecord } from '../auth/auth-record.ts'
import { writeExclusive } from './durable.ts'
import { remoteCalls } from './name-calls.ts'

const FORMAT_VERSION = 1
const MAX_STORE_JSON = 64 * 1024

// `auth` is always there, so that a store without a key differs from a store whose `auth` was removed.
const StoreFile = z.strictObject({ formatVersion: z.literal(FORMAT_VERSION), storeId: StoreId, auth: AuthRecord })
/** What `store.json` says. */
export type StoreAbout = Omit<z.output<typeof StoreFile>, 'formatVersion'>

export const storeFileOf = (root: string): string => path.join(root, 'store.json')

const textOf = (about: StoreAbout): string => `${JSON.stringify({ formatVersion: FORMAT_VERSION, ...about })}\n`

/** Publishes store.json unless there is one. The caller then reads whichever is there. */
export async function createStoreFile(file: string, staged: string, about: StoreAbout): Promise<void> {
  await writeExclusive(file, staged, textOf(about))
  await remoteCalls.syncFolder(path.dirname(file))
}

/** Replaces store.json; a reader sees the old one or the new one. */
export async function replaceStoreFile(file: string, staged: string, about: StoreAbout): Promise<void> {
  try {
    await writeFile(staged, textOf(about), { mode: 0o600, flag: 'wx', flush: true })
    await rename(staged, file)
  } catch (error) {
    await rm(staged, { force: true }).catch(() => undefined)
    throw error
  }
  await remoteCalls.syncFolder(path.dirname(file))
}

/** Null when there is none. */
export async function readStoreFile(file: string): Promise<StoreAbout | null> {
  const text = await readSmall(file)
  if (text === null) return null
  const damaged = (found: string) =>
    unavailable('this is not the store.json of a feature store', { file, found, fix: 'restore it from a backup' })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : 'no JSON')
  }
  expectVersion(file, value)
  const result = StoreFile.safeParse(value)
  if (result.success) return { storeId: result.data.storeId, auth: result.data.auth }
  const issue = result.error.issues[0]
  throw damaged(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'something else'}`)
}

function expectVersion(file: string, value: unknown): void {
  const version = z.looseObject({ formatVersion: z.number() }).safeParse(value)
  if (!version.success || version.data.formatVersion <= FORMAT_VERSION) return
  throw unavailable('this store was made by a newer draftbridge', {
    file,
    field: 'formatVersion',
    found: `${version.data.formatVersion}; supported is ${FORMAT_VERSION}`,
    fix: 'upgrade draftbridge on this machine',
  })
}

async function readSmall(file: string): Promise<string | null> {
  const fix = 'find out who put it there, and restore store.json from a backup'
  const refuse = (found: string) => unavailable('this is not the store.json of a feature store', { file, found, fix })
  return readTextOrNull(file, { refuse, maxBytes: MAX_STORE_JSON })
}
