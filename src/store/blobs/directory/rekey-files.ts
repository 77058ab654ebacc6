import { randomUUID } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Python } from '../../../bridge/python.ts'
import { storageError, unavailable } from '../../../core/files/storage-error.ts'
import type { KeyedRecord } from '../../auth/auth-record.ts'
import type { StoreKey } from '../../auth/store-auth.ts'
import { remoteCalls } from '../../directory/name-calls.ts'
import { readStoreFile, replaceStoreFile, type StoreAbout, storeFileOf } from '../../directory/store-file.ts'
import { isPlainDirectory } from '../../directory/store-root.ts'

/** The files that change when a store gets a new key. New ones are staged in the member's folder. */
export class RekeyFiles {
  readonly file: string
  readonly #python: Python
  readonly #folder: string
  readonly #changedDirs = new Set<string>()

  constructor(python: Python, root: string, memberId: string) {
    this.#python = python
    this.file = storeFileOf(root)
    this.#folder = path.join(root, 'staging', memberId)
  }

  /** Null for a store without a key. */
  async record(): Promise<KeyedRecord | null> {
    const { auth } = await this.#about()
    return auth.mode === 'none' ? null : auth
  }

  async replaceRecord(auth: KeyedRecord): Promise<void> {
    const { storeId } = await this.#about()
    await replaceStoreFile(this.file, path.join(this.#folder, `${randomUUID()}.store.json`), { storeId, auth })
  }

  /** Rewrites one object under the key `to`, atomically for readers. False when it was under that key already. */
  async rewrite(file: string, from: StoreKey, to: StoreKey): Promise<boolean> {
    const staged = path.join(this.#folder, `${randomUUID()}.safetensors`)
    const dir = path.dirname(file)
    try {
      await isPlainDirectory(dir)
      const given = { path: file, staged, from: from.handle, to: to.handle, fsync: true }
      const { changed } = await this.#python.call('object.rekey', given)
      if (!changed) return false
      await rename(staged, file)
      this.#changedDirs.add(dir)
      return true
    } catch (error) {
      await rm(staged, { force: true }).catch(() => undefined)
      throw storageError(error, file)
    }
  }

  /** Makes all rewritten objects survive a power cut. */
  async sync(): Promise<void> {
    for (const dir of this.#changedDirs) await remoteCalls.syncFolder(dir)
    this.#changedDirs.clear()
  }

  async #about(): Promise<StoreAbout> {
    const about = await readStoreFile(this.file)
    if (about === null) throw unavailable('store.json is gone', { file: this.file, found: 'no such file' })
    return about
  }
}
