import { BEAT_MS } from './heartbeat.ts'
import { ownPidNs, parseNote } from './holder-note.ts'
import { type Monotonic, monotonic } from './monotonic.ts'
import { removeWitness, witnessState } from './witness.ts'

/**
 * A holder whose witness cannot be seen from here is dead when its counter was watched to stand still for so long.
 *
 * A healthy host may stall for seconds: a lost connection to the file server, memory that is swapped, a live migration.
 * Six beats get lost before it is taken for dead. What a whole file server does to everybody, such as the 90 s of an NFS
 * server that starts anew, does not count, because the watcher's own reads stall as well. A holder that stalls for longer,
 * or was stopped on purpose, is fenced: it ends with STORE_BUSY and its work goes on elsewhere from the last complete
 * state, so a time that is too short costs work and never data, and one that is too long costs an idle pool.
 *
 * Not a setting: holder and watcher run on different hosts and must agree on it.
 */
export const SILENT_MS = 30_000
const LOOK_EVERY_MS = 1000

/** `unknown`: it may live. For how long its counter has stood still under this watch, and how long there is to go. */
export type Verdict =
  | { readonly state: 'living' }
  | { readonly state: 'dead' }
  | { readonly state: 'unknown'; readonly watchedMs: number; readonly leftMs: number }

/** Who has to be watched still, and for how long at most. */
export interface Waiting {
  readonly holders: readonly string[]
  readonly leftMs: number
}

export interface WaitOptions {
  readonly signal?: AbortSignal
  /** Called about once a second. */
  readonly onWait?: (waiting: Waiting) => void
}

interface Seen {
  readonly text: string
  /** When the text had been read for the first time, or later: when a read of it ended that was held up. */
  readonly since: number
  /** Whether this watch has seen another text before it. */
  readonly moved: boolean
}

/**
 * Tells living holders from dead ones. It reads their notes and one clock, its own: no time that another process or a
 * file system wrote down is ever looked at. So nobody is taken for dead at first sight, unless this process runs on the
 * holder's own machine and the kernel says that it has ended.
 */
export class Watch {
  readonly #time: Monotonic
  readonly #silentMs: number
  readonly #seen = new Map<string, Seen>()

  constructor({ time = monotonic, silentMs = SILENT_MS } = {}) {
    this.#time = time
    this.#silentMs = silentMs
  }

  /**
   * Judges one holder. `id` must never have been another's. `read` gives its note now, or null when there is none: a
   * holder without a note is fenced or has left.
   */
  async look(id: string, read: () => Promise<string | null>): Promise<Verdict> {
    const started = this.#time.now()
    const text = await read()
    if (text !== null) return (await direct(text)) ?? this.#byBeat(id, text, started)
    this.#seen.delete(id)
    return { state: 'dead' }
  }

  /** Looks at all of `ids` together until none is unknown: at most the silence time, and one beat for the living. */
  async settle(
    ids: readonly string[],
    look: (id: string) => Promise<Verdict>,
    { signal, onWait }: WaitOptions = {},
  ): Promise<void> {
    let unknown = ids
    while (unknown.length > 0) {
      signal?.throwIfAborted()
      const verdicts = await Promise.all(unknown.map(look))
      const left = verdicts.map((verdict) => (verdict.state === 'unknown' ? verdict.leftMs : 0))
      unknown = unknown.filter((_, index) => verdicts[index]?.state === 'unknown')
      if (unknown.length === 0) return
      const leftMs = Math.max(...left)
      onWait?.({ holders: unknown, leftMs })
      await this.#time.sleep(Math.min(LOOK_EVERY_MS, leftMs), signal)
    }
  }

  // The counter stood still at least from the end of the read that saw it first to the start of this one.
  #byBeat(id: string, text: string, started: number): Verdict {
    const seen = this.#seen.get(id)
    if (seen === undefined || seen.text !== text) {
      this.#seen.set(id, { text, since: this.#time.now(), moved: seen !== undefined })
      return seen === undefined ? { state: 'unknown', watchedMs: 0, leftMs: this.#silentMs } : { state: 'living' }
    }
    const ended = this.#time.now()
    // What held up this read may have held up the holder's beats too: the silence begins anew.
    const since = ended - started > BEAT_MS ? ended : seen.since
    this.#seen.set(id, { ...seen, since })
    const watchedMs = Math.max(0, started - since)
    if (watchedMs >= this.#silentMs) return { state: 'dead' }
    return seen.moved ? { state: 'living' } : { state: 'unknown', watchedMs, leftMs: this.#silentMs - watchedMs }
  }
}

/** What this process has seen of others: a second try goes on watching where the first one stopped. */
export const processWatch = new Watch()

/** For an error: why a holder is not taken for dead. */
export function describeVerdict(verdict: Verdict): string {
  if (verdict.state !== 'unknown') return 'it is alive'
  const [watched, left] = [verdict.watchedMs, verdict.leftMs].map((ms) => Math.ceil(ms / 1000))
  return `it cannot be seen from here whether it lives; its heartbeat has not moved for the ${watched} s that this process has watched it, and after ${left} s more it is taken for dead`
}

/** Takes a holder's witness away with its note, for one that died and cannot do it itself. */
export function clearWitness(text: string | null): void {
  const note = text === null ? null : parseNote(text)
  if (note?.witness != null && isNear(note.pidNs)) removeWitness(note.witness)
}

async function direct(text: string): Promise<Verdict | null> {
  const note = parseNote(text)
  if (note === null || note.witness === null || !isNear(note.pidNs)) return null
  const state = await witnessState(note.witness)
  if (state === 'unseen') return null
  return { state: state === 'open' ? 'living' : 'dead' }
}

// A pid namespace's number comes again on other machines, so it only says no: the witness proves the machine.
const isNear = (pidNs: string | null): boolean => pidNs !== null && pidNs === ownPidNs()
