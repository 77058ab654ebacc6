import { randomUUID } from 'node:crypto'
import { type CodedError, finding } from '../errors.ts'
import { ClaimFiles, type ClaimName } from './claim-files.ts'
import { Heartbeat } from './heartbeat.ts'
import { type Monotonic, monotonic } from './monotonic.ts'
import type { PublishingFolder } from './publishing-folder.ts'
import { holderName, type TakeOptions, takeClaim } from './take-claim.ts'

export interface ClaimOptions extends TakeOptions {
  /** The member of the store that this process is: fenced with the claim, should this process be taken for dead. */
  readonly memberId?: string
  readonly time?: Monotonic
}

/**
 * The right to be the only process that does one kind of work in `dir`, until it is disposed or its process ends.
 *
 * take:  1 prepare the own publishing folder, with the holder's note in it   2 create the claim. It is taken: judge its
 *        holder by its note (see `Watch`). Living: STORE_BUSY. Dead: fence it, then move its claim to oneself; of several
 *        that try, one succeeds.
 * fence: take the publishing folder away, note and all. Whatever the holder believes, it publishes nothing more, its next
 *        beat finds no note, and `assertHeld` throws.
 * @throws STORE_BUSY naming the holder.
 */
export async function claimFolder(dir: string, work: string, options: ClaimOptions = {}): Promise<FolderClaim> {
  const files = new ClaimFiles(dir, work)
  const id = randomUUID()
  const lost = new AbortController()
  const heartbeat = await Heartbeat.prepare({
    ...(options.memberId === undefined ? {} : { memberId: options.memberId }),
    write: (text) => files.rewriteNote(id, text),
    time: options.time ?? monotonic,
    onFenced: () => lost.abort('fenced'),
  })
  try {
    await files.prepare(id, heartbeat.text)
    const epoch = await takeClaim(files, id, work, options)
    heartbeat.start()
    return new FolderClaim({ files, name: { id, epoch }, work, heartbeat, lost: lost.signal })
  } catch (error) {
    await files
      .publishing(id)
      .drop()
      .catch(() => undefined)
    await heartbeat.stop()
    throw error
  }
}

interface ClaimParts {
  readonly files: ClaimFiles
  readonly name: ClaimName
  readonly work: string
  readonly heartbeat: Heartbeat
  readonly lost: AbortSignal
}

export class FolderClaim implements AsyncDisposable {
  /** 1 for a claim that nobody had, and one more than that of the holder that it was taken over from. */
  readonly epoch: number
  /** What is renamed out of here is published only while the claim is held. */
  readonly publishing: PublishingFolder
  /** Aborted once a beat has found out that this process was taken for dead. */
  readonly lost: AbortSignal
  readonly #files: ClaimFiles
  readonly #name: ClaimName
  readonly #work: string
  readonly #heartbeat: Heartbeat

  constructor({ files, name, work, heartbeat, lost }: ClaimParts) {
    this.epoch = name.epoch
    this.publishing = files.publishing(name.id)
    this.lost = lost
    this.#files = files
    this.#name = name
    this.#work = work
    this.#heartbeat = heartbeat
  }

  /** Asks the file system. @throws STORE_BUSY when this process was taken for dead. */
  async assertHeld(): Promise<void> {
    // A beat alone may go into a removed note that this machine has cached.
    if ((await this.#heartbeat.beat()) && (await this.publishing.isThere())) return
    throw lostClaim(
      this.#files,
      this.#work,
      `${await this.#successor()}; the claim of this process was epoch ${this.epoch}`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Ended last: a note without its witness would be a holder who has to be watched.
    await using _beat = { [Symbol.asyncDispose]: () => this.#heartbeat.stop() }
    await this.#files.giveBack(this.#name)
  }

  async #successor(): Promise<string> {
    const holder = await this.#files.holder()
    if (holder === null) return 'this process was taken for dead, and whoever took over has ended'
    return `${await holderName(this.#files, holder)} has taken over as epoch ${holder.epoch}`
  }
}

const lostClaim = (files: ClaimFiles, work: string, found: string): CodedError =>
  finding('STORE_BUSY', `this process was taken for dead and has lost its right to work here (${work})`, {
    file: files.folder,
    found,
    fix: 'leave the folder to the process that works there now; it goes on from the last complete state',
  })
