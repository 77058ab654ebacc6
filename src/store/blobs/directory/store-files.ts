import type { Stats } from 'node:fs'
import path from 'node:path'
import { storageError } from '../../../core/files/storage-error.ts'
import { type BlobKey, shardOf } from '../../blob-key.ts'
import type {
  FileBeside,
  Foreign,
  FoundFile,
  FoundObject,
  Inventory,
  ObjectLabel,
  OnForeign,
  StagedEntry,
} from '../inventory.ts'
import { fileBeside } from './content-files.ts'
import { entriesOf, foundFile, lstatOrNull, namesIn } from './folder-entries.ts'
import { readLabel } from './object-label.ts'
import { keyOf, nameOf } from './object-names.ts'
import { StagingInventory } from './staging-inventory.ts'

const SHARD = /^[0-9a-f]{2}$/
/** The names in a store's directory; anything else is foreign. */
const OWN = new Set(['objects', 'extern', 'content', 'staging', 'quarantine', 'notes', 'reserve', 'store.json'])

/**
 * The files of a store, for the commands that check and clean it: their names, sizes and times. A link is not followed
 * and is reported as what it is. Puts and gets know the one file they want.
 */
export class StoreFiles implements Inventory {
  readonly root: string
  readonly #staging: StagingInventory

  constructor(root: string) {
    this.root = root
    this.#staging = new StagingInventory(root)
  }

  async *objects(foreign: OnForeign = () => undefined): AsyncIterable<FoundObject> {
    yield* this.#sharded('objects', 'safetensors', foreign)
  }

  // A label that names another object than the file name does is not believed.
  async label({ file, key }: FoundObject): Promise<ObjectLabel | null> {
    const label = await readLabel(file)
    return label?.sampleId === key.sampleId && label.generation === key.generation ? label : null
  }

  async object(key: BlobKey): Promise<FoundObject | null> {
    const file = path.join(this.root, 'objects', shardOf(key.sampleId), nameOf(key))
    const info = await lstatOrNull(file)
    return info?.isFile() === true ? { key, ...foundFile(file, info) } : null
  }

  async beside({ key }: Pick<FoundObject, 'key'>): Promise<FileBeside | null> {
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
        if (info.isFile() && info.nlink === 1) yield foundFile(path.join(dir, name), info)
      }
    }
  }

  /** Names in the store's directory that do not belong to it. */
  async foreignAtTop(): Promise<readonly Foreign[]> {
    const found: Foreign[] = []
    for await (const [name, info] of entriesOf(this.root)) {
      const plain = name === 'store.json' ? info.isFile() : info.isDirectory()
      if (!OWN.has(name) || !plain) found.push({ file: path.join(this.root, name), found: kindOf(info) })
    }
    return found
  }

  staged(): AsyncIterable<StagedEntry> {
    return this.#staging.staged()
  }

  now(memberId: string): Promise<number> {
    return this.#staging.now(memberId)
  }

  drop(file: string): Promise<void> {
    return this.#staging.drop(file)
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
    else yield { key, ...foundFile(file, info) }
  }
}

function kindOf(info: Stats): string {
  if (info.isSymbolicLink()) return 'a symbolic link'
  if (info.isFile()) return 'a file with a name of its own'
  return info.isDirectory() ? 'a directory' : 'neither file nor directory'
}
