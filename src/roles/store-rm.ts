import { finding } from '../core/errors.ts'
import { inBatches } from '../core/in-batches.ts'
import { holdersOf } from '../store/held-keys.ts'
import type { FoundObject } from '../store/inventory.ts'
import type { StoreCare } from '../store/open.ts'
import { noteKey } from '../store/shared-leases.ts'
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
  const objects = await objectsOf(care, run, signal)
  await expectUnheld(care, run, objects)
  if (!options.force) await expectNobody(care, run)
  const bytes = objects.reduce((sum, object) => sum + object.bytes, 0)
  const about = { store: care.parts.id, run, dryRun, kept: 0 }
  if (dryRun) return { ...about, removed: objects.length, bytes }
  const wanted = objects.length > 0 && (await agree(objects.length, bytes))
  if (!wanted) return { ...about, removed: 0, kept: objects.length, bytes: 0 }
  await care.parts.members.join()
  await care.parts.space.open()
  let [removed, freed] = [0, 0]
  for (let at = 0; at < objects.length; at += AT_ONCE) {
    signal.throwIfAborted()
    const some = objects.slice(at, at + AT_ONCE)
    // Not simply removed: a lease that somebody took since then still counts.
    const gone = await Promise.all(some.map(({ key }) => care.parts.leases.retire(key)))
    const stays = some.find((_, index) => gone[index] !== true)
    if (stays !== undefined) throw held(run, noteKey(stays.key), 'a living process')
    removed += some.length
    freed += some.reduce((sum, object) => sum + object.bytes, 0)
  }
  return { ...about, removed, bytes: freed }
}

async function objectsOf({ files }: StoreCare, run: string, signal: AbortSignal): Promise<readonly FoundObject[]> {
  const objects: FoundObject[] = []
  for await (const some of inBatches(files.objects(), AT_ONCE)) {
    signal.throwIfAborted()
    const labels = await Promise.all(some.map((object) => files.label(object)))
    objects.push(...some.filter((_, index) => labels[index]?.runId === run))
  }
  return objects
}

async function expectUnheld({ parts }: StoreCare, run: string, objects: readonly FoundObject[]): Promise<void> {
  const { backend, members } = parts
  const all = [await holdersOf(backend.notes, 'leases'), await holdersOf(backend.notes, 'claims')]
  for (const { key } of objects) {
    for (const holder of all.flatMap((held) => held.get(noteKey(key)) ?? [])) {
      if (!(await members.dead(holder))) throw held(run, noteKey(key), await members.describe(holder))
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
