import { randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { lstat, open, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { isErrno } from '../../../core/errors.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import { shardOf } from '../../blob-key.ts'
import type {
  FileBeside,
  Foreign,
  FoundFile,
  FoundObject,
  Inventory,
  ObjectLabel,
  OnForeign,
  StagedEntry,
} from '../../maintenance/inventory.ts'
import { fileBeside } from './content-files.ts'
import { readLabel } from './object-label.ts'
import { keyOf, nameOf } from './object-names.ts'

const SHARD = /^[0-9a-f]{2}$/
/** Looked at together: enough to keep a remote file system busy. */
const AT_ONCE = 64
/** What stands in a store's directory; anything else is foreign. */
const OWN = new Set(['objects', 'extern', 'content', 'staging', 'quarantine', 'notes', 'store.json'])

/**
 * The files of a store, looked at and never read. Nothing is followed: a link is reported as what it is.
 * For whoever checks and cleans; puts and gets know the one file they want.
 */
export class StoreFiles implements Inventory {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  async *objects(foreign: OnForeign = () => undefined): AsyncIterable<FoundObject> {
    yield* this.#sharded('objects', 'safetensors', foreign)
  }

  // A label that names another object than the file does is no label of this one.
  async label({ file, key }: FoundObject): Promise<ObjectLabel | null> {
    const label = await readLabel(file)
    return label?.sampleId === key.sampleId && label.generation === key.generation ? label : null
  }

  async beside({ key }: FoundObject): Promise<FileBeside | null> {
    const file = path.join(this.root, 'extern', shardOf(key.sampleId), nameOf(key, 'bin'))
    if ((await lstatOrNull(file))?.isFile() !== true) return null
    try {
      return await fileBeside(file)
    } catch (error) {
      throw storageError(error, file)
    }
  }

  async *extern(foreign: OnForeign = () => undefined): AsyncIterable<FoundObject> {
    yield* this.#sharded('extern', null, foreign)
  }

  async *unusedContent(): AsyncIterable<FoundFile> {
    for (const shard of await namesIn(path.join(this.root, 'content'))) {
      const dir = path.join(this.root, 'content', shard)
      for await (const [name, info] of entriesOf(dir)) {
        if (info.isFile() && info.nlink === 1) yield found(path.join(dir, name), info)
      }
    }
  }

  async *staged(): AsyncIterable<StagedEntry> {
    const dir = path.join(this.root, 'staging')
    for await (const [name, info] of entriesOf(dir)) {
      const file = path.join(dir, name)
      if (!info.isDirectory()) yield { ...found(file, info), name, directory: false }
      else yield { ...(await contentOf(found(file, info))), name, directory: true }
    }
  }

  /** Names in the store's own directory that are none of its. */
  async foreignAtTop(): Promise<readonly Foreign[]> {
    const found: Foreign[] = []
    for await (const [name, info] of entriesOf(this.root)) {
      const plain = name === 'store.json' ? info.isFile() : info.isDirectory()
      if (!OWN.has(name) || !plain) found.push({ file: path.join(this.root, name), found: kindOf(info) })
    }
    return found
  }

  async now(memberId: string): Promise<number> {
    const file = path.join(this.root, 'staging', memberId, `${randomUUID()}.clock`)
    try {
      const handle = await open(file, 'wx', 0o600)
      try {
        return (await handle.stat()).mtimeMs
      } finally {
        await handle.close()
        await rm(file, { force: true })
      }
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

  async *#sharded(part: string, suffix: string | null, foreign: OnForeign): AsyncIterable<FoundObject> {
    const top = path.join(this.root, part)
    for await (const [shard, about] of entriesOf(top)) {
      const dir = path.join(top, shard)
      if (SHARD.test(shard) && about.isDirectory()) yield* inShard(dir, suffix, foreign)
      else foreign({ file: dir, found: kindOf(about) })
    }
  }
}

async function* inShard(dir: string, suffix: string | null, foreign: OnForeign): AsyncIterable<FoundObject> {
  for await (const [name, info] of entriesOf(dir)) {
    const file = path.join(dir, name)
    const key = info.isFile() ? keyOf(name, suffix) : null
    if (key === null) foreign({ file, found: kindOf(info) })
    else if (shardOf(key.sampleId) !== path.basename(dir)) foreign({ file, found: 'an object in the wrong directory' })
    else yield { key, ...found(file, info) }
  }
}

const found = (file: string, info: Stats): FoundFile => ({
  file,
  bytes: info.size,
  modifiedMs: info.mtimeMs,
  touchedMs: Math.max(info.mtimeMs, info.ctimeMs),
})

function kindOf(info: Stats): string {
  if (info.isSymbolicLink()) return 'a symbolic link'
  if (info.isFile()) return 'a file with a name of its own'
  return info.isDirectory() ? 'a directory' : 'neither file nor directory'
}

/** In any order; what vanishes meanwhile is left out. */
async function* entriesOf(dir: string): AsyncIterable<readonly [string, Stats]> {
  const names = await namesIn(dir)
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const some = names.slice(at, at + AT_ONCE)
    const infos = await Promise.all(some.map((name) => lstatOrNull(path.join(dir, name))))
    for (const [index, info] of infos.entries()) if (info !== null) yield [some[index] ?? '', info]
  }
}

/** A directory as old as the newest thing in it, and as large as all of it. */
async function contentOf(dir: FoundFile): Promise<FoundFile> {
  let [bytes, touchedMs] = [0, dir.touchedMs]
  for await (const [name, info] of entriesOf(dir.file)) {
    const inside = found(path.join(dir.file, name), info)
    bytes += inside.bytes
    touchedMs = Math.max(touchedMs, inside.touchedMs)
  }
  return { ...dir, bytes, touchedMs }
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw storageError(error, dir)
  }
}

async function lstatOrNull(file: string): Promise<Stats | null> {
  try {
    return await lstat(file)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw storageError(error, file)
  }
}
