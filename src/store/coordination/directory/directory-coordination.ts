import { randomBytes } from 'node:crypto'
import { MountRecord } from '../../directory/mount-record.ts'
import type { NameCalls } from '../../directory/name-calls.ts'
import { NOBODY } from '../claim-notes.ts'
import type { Coordination, MemberFolder } from '../coordination.ts'
import { DirectoryNotes } from './directory-notes.ts'
import { Reserve } from './reserve.ts'
import { SignedNotes } from './signed-notes.ts'
import { StagingFolder } from './staging-folder.ts'

/** Coordination of clients in any process or machine that has this directory mounted. */
export class DirectoryCoordination implements Coordination {
  readonly memberId = `m${randomBytes(8).toString('hex')}`
  readonly spansProcesses = true
  readonly notes: DirectoryNotes
  readonly #folder: StagingFolder
  readonly #reserve: Reserve
  readonly #mount: MountRecord
  readonly #identity: SignedNotes
  readonly #nobody: SignedNotes

  /** `notes`, `staging` and `reserve` are folders of one file system. */
  constructor(root: {
    readonly notes: string
    readonly staging: string
    readonly reserve: string
    readonly calls: NameCalls
  }) {
    this.#reserve = new Reserve(root.reserve)
    this.#folder = new StagingFolder(root.staging, this.memberId)
    this.notes = new DirectoryNotes(root.notes, this.#folder.dir, root.calls)
    this.#identity = new SignedNotes(this.notes, this.#folder, 'identity', this.memberId)
    this.#nobody = new SignedNotes(this.notes, this.#folder, 'nobody', NOBODY)
    this.#mount = new MountRecord(root.staging, this.notes, root.calls)
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

  publishOver(name: string, text: string): Promise<void> {
    return this.notes.write(name, text)
  }

  sign(name: string): Promise<boolean> {
    return this.#identity.link(name)
  }

  signAway(name: string): Promise<boolean> {
    return this.#nobody.link(name)
  }

  withdraw(name: string): Promise<boolean> {
    return this.notes.withdraw(name)
  }

  async enter(): Promise<void> {
    const isRecorded = await this.#folder.make((dir) => this.#mount.expectFit(dir))
    // Where there is no room for the reserve, there is none for a record.
    if ((await this.#reserve.fill()) && !isRecorded) await this.#mount.add()
  }

  fence(memberId: string): Promise<void> {
    return this.#folder.takeAway(memberId)
  }

  async leave(): Promise<void> {
    await this.#folder.drop()
    await this.#reserve.fill()
  }

  inReserve<T>(task: () => Promise<T>): Promise<T> {
    return this.#reserve.run(task)
  }
}
