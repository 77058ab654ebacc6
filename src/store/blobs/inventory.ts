import type { Generation, RunId, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../blob-key.ts'

export interface FoundFile {
  readonly file: string
  readonly bytes: number
  /** When its content was written, by the clock of the file system. */
  readonly modifiedMs: number
  /** When anything about it changed last; a new link to an old file counts. */
  readonly touchedMs: number
}

export interface FoundObject extends FoundFile {
  readonly key: BlobKey
}

export interface StagedEntry extends FoundFile {
  readonly name: string
  readonly directory: boolean
}

/** A file or folder in the store's directory that draftbridge did not write. */
export interface Foreign {
  readonly file: string
  readonly found: string
}

export type OnForeign = (foreign: Foreign) => void

/** What an object's own header says, unchecked: enough to sort objects, not enough to serve one. */
export interface ObjectLabel {
  readonly runId: RunId
  readonly sampleId: SampleId
  readonly generation: Generation
}

/** A file of the store that contains tensors of an object, in addition to the object's own file. */
export interface FileBeside {
  readonly bytes: number
  /** How many objects share the file, and its id. Null: it belongs to one object. */
  readonly shared: { readonly users: number; readonly id: string } | null
}

/** The bytes that are attributed to one object: its share of a file that several objects use. */
export const partOf = (beside: FileBeside | null): number =>
  beside === null ? 0 : Math.ceil(beside.bytes / (beside.shared?.users ?? 1))

/** What a store holds, for the commands that check and clean it. Puts and gets do not need it. */
export interface Inventory {
  /** Every object. Calls `foreign` for each foreign file. */
  objects(foreign?: OnForeign): AsyncIterable<FoundObject>
  /** The object of this key; null when there is none. */
  object(key: BlobKey): Promise<FoundObject | null>
  /** Null for an object without a readable label. Reads no tensor. */
  label(object: FoundObject): Promise<ObjectLabel | null>
  /**
   * The file of the store that holds tensors of the object. Null when all lie in the object itself, or in a user's file,
   * which is not the store's.
   */
  beside(object: Pick<FoundObject, 'key'>): Promise<FileBeside | null>
  /** Files that objects point into, each named after its object. */
  extern(foreign?: OnForeign): AsyncIterable<FoundObject>
  /** Shared tensor data that no object uses. */
  unusedContent(): AsyncIterable<FoundFile>
  /**
   * The entries of `staging`: folders of members, folders of fenced members, and files without an owner. The bytes of an
   * entry are those that its removal frees: 0 for a file that has another name in the store.
   */
  staged(): AsyncIterable<StagedEntry>
  foreignAtTop(): Promise<readonly Foreign[]>
  /** The time by the clock of the file system. The caller must be a member that has entered. */
  now(memberId: string): Promise<number>
  /** Removes a file or a directory; one that is absent is no error. */
  drop(file: string): Promise<void>
}
