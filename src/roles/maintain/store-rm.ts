import { inBatches } from '../../core/concurrency/in-batches.ts'
import { finding, hasCode } from '../../core/errors.ts'
import type { WaitOptions } from '../../core/liveness/watch.ts'
import { type BlobKey, keySegment } from '../../store/blob-key.ts'
import type { FoundObject } from '../../store/blobs/inventory.ts'
import { holdersOf } from '../../store/coordination/held-keys.ts'
import { WouldFree } from '../../store/maintenance/would-free.ts'
import type { MaintenanceStore } from '../../store/open-for-maintenance.ts'
import { openStoreLocation, type StoreLocation } from './store-location.ts'

/** Objects that are handled at the same time: enough to keep a remote file system busy. */
const AT_ONCE = 32

export interface RmReport {
  readonly store: string
  readonly run: string
  readonly dryRun: boolean
  /** Number of objects: a sample may have more than one generation. */
  readonly removed: number
  /** Objects that were kept because the user said no. */
  readonly kept: number
  readonly bytes: number
}

export interface RmOptions {
  readonly run: string
  readonly dryRun: boolean
  /** Remove even while other processes have the store open, as long as they hold no sample of the run. */
  readonly force: boolean
  readonly signal: AbortSignal
  /** Called while members of the store that cannot be seen from here are watched. */
  readonly onWait?: WaitOptions['onWait']
  /** Called with the totals before anything is removed. False: nothing is removed. */
  readonly agree: (objects: number, bytes: number) => Promise<boolean>
}

/**
 * Removes all samples of a run. After an interruption the next call removes the rest.
 * @throws STORE_BUSY, with nothing removed, while a running process holds one of them or may be working on the run.
 */
export async function removeRun(location: StoreLocation, options: RmOptions): Promise<RmReport> {
  await using store = await openStoreLocation(location)
  const { run, dryRun, signal, agree, onWait } = options
  const { objects, bytes } = await objectsOf(store, run, signal)
  // Without it what a member that died elsewhere held could never be removed.
  await store.parts.members.settle({ signal, ...(onWait === undefined ? {} : { onWait }) })
  await requireUnheld(store, run, objects)
  if (!options.force) await requireNoOtherMember(store, run)
  const about = { store: store.parts.id, run, dryRun, kept: 0 }
  if (dryRun) return { ...about, removed: objects.length, bytes }
  const wanted = objects.length > 0 && (await agree(objects.length, bytes))
  if (!wanted) return { ...about, removed: 0, kept: objects.length, bytes: 0 }
  const gone = await joinMakingRoom(store, objects)
  await store.parts.space.open()
  // What is left of those that are gone comes last: their removal asks for room.
  const ordered = [...objects.slice(gone), ...objects.slice(0, gone)]
  for (let at = 0; at < ordered.length; at += AT_ONCE) {
    signal.throwIfAborted()
    const some = ordered.slice(at, at + AT_ONCE)
    // `retire` keeps an object that another process has leased or claimed in the meantime.
    const removed = await Promise.all(some.map(({ key }) => retired(store, key)))
    const kept = some.find((_, index) => removed[index] === null)
    if (kept !== undefined) throw inUse(run, keySegment(kept.key), 'a running process')
  }
  return { ...about, removed: objects.length, bytes }
}

// Without room for the notes of a removal the sample goes without them: nobody held it a moment ago.
async function retired({ parts }: MaintenanceStore, key: BlobKey): Promise<number | null> {
  try {
    return await parts.retire(key)
  } catch (error) {
    if (!hasCode(error, 'STORE_FULL')) throw error
    return await parts.remove(key)
  }
}

// On a full disk whose store has no reserve, objects go until there is room for this member: nobody holds one of them.
// How many went.
async function joinMakingRoom({ parts, files }: MaintenanceStore, objects: readonly FoundObject[]): Promise<number> {
  for (const [gone, { file }] of objects.entries()) {
    try {
      await parts.members.join()
      return gone
    } catch (error) {
      if (!hasCode(error, 'STORE_FULL')) throw error
      await files.drop(file)
    }
  }
  await parts.members.join()
  return objects.length
}

interface RunObjects {
  readonly objects: readonly FoundObject[]
  /** What their removal would free. */
  readonly bytes: number
}

async function objectsOf({ files }: MaintenanceStore, run: string, signal: AbortSignal): Promise<RunObjects> {
  const objects: FoundObject[] = []
  const wouldFree = new WouldFree(files)
  let bytes = 0
  for await (const some of inBatches(files.objects(), AT_ONCE)) {
    signal.throwIfAborted()
    const labels = await Promise.all(some.map((object) => files.label(object)))
    const ofRun = some.filter((_, index) => labels[index]?.runId === run)
    objects.push(...ofRun)
    for (const each of await Promise.all(ofRun.map((object) => wouldFree.add(object)))) bytes += each
  }
  return { objects, bytes }
}

async function requireUnheld({ parts }: MaintenanceStore, run: string, objects: readonly FoundObject[]): Promise<void> {
  const { coordination, members } = parts
  const all = [await holdersOf(coordination.notes, 'leases'), await holdersOf(coordination.notes, 'claims')]
  for (const { key } of objects) {
    for (const holder of all.flatMap((held) => held.get(keySegment(key)) ?? [])) {
      if (!(await members.dead(holder))) throw inUse(run, keySegment(key), await members.describe(holder))
    }
  }
}

// A process between two samples holds no lease, but still needs the run.
async function requireNoOtherMember({ parts: { members } }: MaintenanceStore, run: string): Promise<void> {
  for (const member of await members.all()) {
    const alive = member !== members.id && !(await members.dead(member))
    if (alive) throw inUse(run, 'the store', await members.describe(member))
  }
}

const inUse = (run: string, what: string, process: string) =>
  finding('STORE_BUSY', `run ${run} cannot be removed: the store is in use`, {
    field: what,
    found: `${process} uses it`,
    fix: 'end that process first; if it works on another run, use --force, which never removes a claimed sample',
  })
