import { finding } from '../../core/errors.ts'
import { inBatches } from '../../core/in-batches.ts'
import { keySegment } from '../../store/blob-key.ts'
import { holdersOf } from '../../store/coordination/held-keys.ts'
import type { FileBeside, FoundObject } from '../../store/maintenance/inventory.ts'
import type { StoreCare } from '../../store/open-for-care.ts'

import { openStorePlace, type StorePlace } from './store-place.ts'

/** Small files, each with a few calls: enough to keep a remote file system busy. */
const AT_ONCE = 32

export interface RmReport {
  readonly store: string
  readonly run: string
  readonly dryRun: boolean
  /** Objects: a sample may have more than one generation. */
  readonly removed: number
  /** There, and kept because somebody was asked and said no. */
  readonly kept: number
  readonly bytes: number
}

export interface RmOptions {
  readonly run: string
  readonly dryRun: boolean
  /** Also while other processes have the store open, as long as they hold no sample of the run. */
  readonly force: boolean
  readonly signal: AbortSignal
  /** Asked when it is known what would go. False: nothing goes. */
  readonly agree: (objects: number, bytes: number) => Promise<boolean>
}

/**
 * Removes all samples of a run. What is not gone when it is cut short goes the next time.
 * @throws STORE_BUSY, with nothing removed, while a living process holds one of them or may be at work on the run.
 */
export async function removeRun(place: StorePlace, options: RmOptions): Promise<RmReport> {
  await using care = await openStorePlace(place)
  const { run, dryRun, signal, agree } = options
  const { objects, bytes } = await objectsOf(care, run, signal)
  await expectUnheld(care, run, objects)
  if (!options.force) await expectNobody(care, run)
  const about = { store: care.parts.id, run, dryRun, kept: 0 }
  if (dryRun) return { ...about, removed: objects.length, bytes }
  const wanted = objects.length > 0 && (await agree(objects.length, bytes))
  if (!wanted) return { ...about, removed: 0, kept: objects.length, bytes: 0 }
  await care.parts.members.join()
  await care.parts.space.open()
  for (let at = 0; at < objects.length; at += AT_ONCE) {
    signal.throwIfAborted()
    const some = objects.slice(at, at + AT_ONCE)
    // Not simply removed: a lease that somebody took since then still counts.
    const gone = await Promise.all(some.map(({ key }) => care.parts.leases.retire(key)))
    const stays = some.find((_, index) => gone[index] !== true)
    if (stays !== undefined) throw held(run, keySegment(stays.key), 'a living process')
  }
  return { ...about, removed: objects.length, bytes }
}

/** What is about to go. */
class Going {
  readonly objects: FoundObject[] = []
  readonly #users = new Map<string, number>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  // A file that is shared goes with the last of its users, and stays when one of another run is among them.
  add(object: FoundObject, beside: FileBeside | null): void {
    this.objects.push(object)
    this.#bytes += object.bytes
    if (beside === null) return
    const { bytes, shared } = beside
    const users = shared === null ? 1 : (this.#users.get(shared.id) ?? 0) + 1
    if (shared !== null) this.#users.set(shared.id, users)
    if (users === (shared?.users ?? 1)) this.#bytes += bytes
  }
}

async function objectsOf({ files }: StoreCare, run: string, signal: AbortSignal): Promise<Going> {
  const going = new Going()
  const look = async (object: FoundObject): Promise<void> => {
    if ((await files.label(object))?.runId === run) going.add(object, await files.beside(object))
  }
  for await (const some of inBatches(files.objects(), AT_ONCE)) {
    signal.throwIfAborted()
    await Promise.all(some.map(look))
  }
  return going
}

async function expectUnheld({ parts }: StoreCare, run: string, objects: readonly FoundObject[]): Promise<void> {
  const { coordination, members } = parts
  const all = [await holdersOf(coordination.notes, 'leases'), await holdersOf(coordination.notes, 'claims')]
  for (const { key } of objects) {
    for (const holder of all.flatMap((held) => held.get(keySegment(key)) ?? [])) {
      if (!(await members.dead(holder))) throw held(run, keySegment(key), await members.describe(holder))
    }
  }
}

// A process that is between two samples holds none, and still needs the run.
async function expectNobody({ parts: { members } }: StoreCare, run: string): Promise<void> {
  for (const member of await members.all()) {
    const living = member !== members.id && !(await members.dead(member))
    if (living) throw held(run, 'the store', await members.describe(member))
  }
}

const held = (run: string, what: string, who: string) =>
  finding('STORE_BUSY', `run ${run} is not removed: the store is in use`, {
    field: what,
    found: `${who} has it open`,
    fix: 'end that process first; if it works on another run, give --force: a sample that is held still stays',
  })
