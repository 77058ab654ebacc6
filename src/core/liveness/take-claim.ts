import { type CodedError, finding } from '../errors.ts'
import type { ClaimFiles, ClaimName } from './claim-files.ts'
import { describeNote, parseNote } from './holder-note.ts'
import { clearWitness, describeVerdict, processWatch, type WaitOptions, type Watch } from './watch.ts'

const ROUNDS = 20

export interface TakeOptions {
  /** Fences the member of the store that the former holder was. Runs before the claim is taken over. */
  readonly fence?: (memberId: string) => Promise<void>
  /** Watch a holder that cannot be seen from here until it is known to live or to be dead. Default: fail at once. */
  readonly wait?: WaitOptions
  readonly watch?: Pick<Watch, 'look' | 'settle'>
}

/**
 * Takes a claim for `id`, whose publishing folder is prepared. The epoch of the claim.
 * @throws STORE_BUSY naming the holder, when it lives or may live.
 */
export async function takeClaim(files: ClaimFiles, id: string, work: string, options: TakeOptions): Promise<number> {
  for (let round = 0; round < ROUNDS; round += 1) {
    if (await files.create({ epoch: 1, id })) return 1
    const holder = await files.holder()
    if (holder === null) continue
    await expectDead(files, holder, work, options)
    const epoch = holder.epoch + 1
    if (await takeOver(files, holder, { epoch, id }, options)) return epoch
  }
  throw busy(files, work, 'one process after another')
}

async function expectDead(files: ClaimFiles, holder: ClaimName, work: string, options: TakeOptions): Promise<void> {
  const { wait, watch = processWatch } = options
  const look = () => watch.look(holder.id, () => files.note(holder.id))
  if (wait !== undefined) await watch.settle([holder.id], look, wait)
  const verdict = await look()
  if (verdict.state === 'dead') return
  throw busy(files, work, `${await holderName(files, holder)}; ${describeVerdict(verdict)}`)
}

/** False when another was first, or the holder has let go. */
async function takeOver(
  files: ClaimFiles,
  holder: ClaimName,
  mine: ClaimName,
  { fence }: TakeOptions,
): Promise<boolean> {
  const text = await files.note(holder.id)
  const member = text === null ? undefined : parseNote(text)?.memberId
  if (member !== undefined) await fence?.(member)
  await files.fence(holder.id)
  clearWitness(text)
  return files.move(holder, mine)
}

/** For an error: who that is. */
export async function holderName(files: ClaimFiles, { id }: ClaimName): Promise<string> {
  const text = await files.note(id)
  const note = text === null ? null : parseNote(text)
  return note === null ? 'a process that does not say who it is' : describeNote(note)
}

const busy = (files: ClaimFiles, work: string, found: string): CodedError =>
  finding('STORE_BUSY', `another process is at work here (${work})`, {
    file: files.folder,
    found,
    fix: 'wait until it ends, or give this one a folder of its own',
  })
