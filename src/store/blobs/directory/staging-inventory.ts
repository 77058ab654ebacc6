import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { removedAtEnd } from '../../../core/files/removed-at-end.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import type { FoundFile, Inventory, StagedEntry } from '../inventory.ts'
import { entriesOf, foundFile, inodeOrNull, namesIn } from './folder-entries.ts'

/** What lies in the `staging` folder of a store, and the clock of the file system it is on. */
export class StagingInventory implements Pick<Inventory, 'staged' | 'now' | 'drop'> {
  readonly #root: string
  #kept: Promise<ReadonlySet<bigint | null>> | undefined

  constructor(root: string) {
    this.#root = root
  }

  async *staged(): AsyncIterable<StagedEntry> {
    const dir = path.join(this.#root, 'staging')
    // Asked anew each time: what was staged then may have been published since.
    this.#kept = undefined
    for await (const [name, info] of entriesOf(dir)) {
      const file = path.join(dir, name)
      const about = info.isDirectory() ? await this.#folder(foundFile(file, info)) : await this.#file(file, info)
      yield { ...about, name, directory: info.isDirectory() }
    }
  }

  async now(memberId: string): Promise<number> {
    const file = path.join(this.#root, 'staging', memberId, `${randomUUID()}.clock`)
    try {
      await using _file = removedAtEnd(file)
      await using handle = await open(file, 'wx', 0o600)
      return (await handle.stat()).mtimeMs
    } catch (error) {
      throw storageError(error, file)
    }
  }

  async drop(file: string): Promise<void> {
    try {
      await rm(file, { recursive: true, force: true })
    } catch (error) {
      throw storageError(error, file)
    }
  }

  /** A folder is as old as the newest thing in it, and as large as all that its removal frees. */
  async #folder(dir: FoundFile): Promise<FoundFile> {
    let [bytes, touchedMs] = [0, dir.touchedMs]
    for await (const [name, info] of entriesOf(dir.file)) {
      const file = path.join(dir.file, name)
      const inside = info.isDirectory() ? await this.#folder(foundFile(file, info)) : await this.#file(file, info)
      bytes += inside.bytes
      touchedMs = Math.max(touchedMs, inside.touchedMs)
    }
    return { ...dir, bytes, touchedMs }
  }

  async #file(file: string, info: Stats): Promise<FoundFile> {
    const found = foundFile(file, info)
    return { ...found, bytes: (await this.#isElsewhere(file, info)) ? 0 : info.size }
  }

  /** Whether the store has the file under another name too, so that nothing is freed when this name goes. */
  async #isElsewhere(file: string, info: Stats): Promise<boolean> {
    if (info.nlink === 1) return false
    // An object or a note was linked to its own name just before. Other files may be links to a file of the user.
    if (path.extname(file) !== '.bin') return true
    this.#kept ??= this.#keptInodes()
    return (await this.#kept).has(await inodeOrNull(file))
  }

  async #keptInodes(): Promise<ReadonlySet<bigint | null>> {
    const inodes = new Set<bigint | null>()
    for (const part of ['extern', 'content']) {
      for (const shard of await namesIn(path.join(this.#root, part))) {
        const dir = path.join(this.#root, part, shard)
        for (const name of await namesIn(dir)) inodes.add(await inodeOrNull(path.join(dir, name)))
      }
    }
    return inodes
  }
}
