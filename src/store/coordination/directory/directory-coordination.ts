import { randomBytes } from 'node:crypto'
import type { NameCalls } from '../../directory/name-calls.ts'
import type { Coordination, MemberFolder } from '../coordination.ts'
import { DirectoryNotes } from './directory-notes.ts'
import { StagingFolder } from './staging-folder.ts'

/** Coordination of clients in any process or machine that has this directory mounted. */
export class DirectoryCoordination implements Coordination {
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly spansProcesses = true
  readonly notes: DirectoryNotes
  readonly #folder: StagingFolder

  /** `notes` and `staging` are folders of one file system. */
  constructor(root: { readonly notes: string; readonly staging: string; readonly calls: NameCalls }) {
    this.#folder = new StagingFolder(root.staging, this.memberId)
    this.notes = new DirectoryNotes(root.notes, this.#folder.dir, root.calls)
  }

  /** For blobs that are files below the same directory. */
  get folder(): MemberFolder {
    return this.#folder
  }

  async publish(name: string, text: string): Promise<boolean> {
    // An empty note is made in its place and not linked out of the member's folder, so a fence would not stop it.
    if (text === '') throw new Error(`a published note needs text: ${name}`)
    return this.notes.create(name, text)
  }

  withdraw(name: string): Promise<boolean> {
    return this.notes.withdraw(name)
  }

  enter(): Promise<void> {
    return this.#folder.make()
  }

  fence(memberId: string): Promise<void> {
    return this.#folder.takeAway(memberId)
  }

  leave(): Promise<void> {
    return this.#folder.drop()
  }
}
