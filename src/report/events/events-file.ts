import { constants } from 'node:buffer'
import { appendFileSync, closeSync, constants as flags, fstatSync, mkdirSync, readSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { isErrno } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { openPlainSync } from '../../core/files/plain-file.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { type EventBody, type EventSink, parseEvent, type RunEvent } from './events.ts'

export const EVENTS_NAME = 'events.ndjson'
/** Of nodes that write no part of the run but their events: appends of several machines to one file would mix. */
const OTHERS = /^events\.(producer|consumer)-\d+\.ndjson$/
export const eventsNameOf = (role: 'producer' | 'consumer', node: number): string => `events.${role}-${node}.ndjson`
const APPEND = flags.O_RDWR | flags.O_APPEND | flags.O_CREAT
export type Listener = (event: RunEvent) => void

export interface EventsFileOptions {
  readonly dir: string
  /** Default: `events.ndjson`. */
  readonly name?: string
  readonly runId: string
  readonly clock: Clock
  readonly listeners?: readonly Listener[]
}

/**
 * The events of one run, as one machine writes them. Each line is written with one append, so several processes of a run can share the file. A
 * line is written before the listeners get the event, so everything on the screen is also in the file.
 */
export class EventsFile implements EventSink, Disposable {
  readonly #options: EventsFileOptions
  readonly #path: string
  #file: number | undefined

  constructor(options: EventsFileOptions) {
    this.#options = options
    this.#path = path.join(options.dir, options.name ?? EVENTS_NAME)
    mkdirSync(options.dir, { recursive: true })
    // Most ranks of a large job have nothing to say, and no file.
    if (options.name === undefined || options.name === EVENTS_NAME) this.#file = this.#open()
  }

  emit(body: EventBody): void {
    const { clock, runId, listeners = [] } = this.#options
    const stamp = { v: 1 as const, ts: clock.now(), runId }
    try {
      this.#file ??= this.#open()
      appendFileSync(this.#file, `${JSON.stringify({ ...stamp, ...body })}\n`)
    } catch (cause) {
      throw storageError(cause, this.#path, 'the folder of the run')
    }
    for (const listener of listeners) listener({ ...stamp, body })
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }

  #open(): number {
    const file = openPlainSync(this.#path, undefined, APPEND)
    // A killed process may have left an incomplete line. The next event must start on its own line.
    if (!endsWithNewline(file)) appendFileSync(file, '\n')
    return file
  }
}

function endsWithNewline(file: number): boolean {
  const { size } = fstatSync(file)
  if (size === 0) return true
  const last = Buffer.alloc(1)
  readSync(file, last, 0, 1, size - 1)
  return last.toString() === '\n'
}

/** An event as one line of JSON: the format of the file, and of stdout with `--json-lines`. */
export function eventLine({ body, ...stamp }: RunEvent): string {
  return JSON.stringify({ ...stamp, ...body })
}

/**
 * All events of a run folder, those in the file `own` last; none if there is no events file. `unreadable` counts lines that
 * are not an event.
 */
export async function readEvents(dir: string, own = EVENTS_NAME): Promise<{ events: RunEvent[]; unreadable: number }> {
  const events: RunEvent[] = []
  let unreadable = 0
  for (const name of await eventsFiles(dir, own)) {
    for (const line of (await textOf(path.join(dir, name))).split('\n')) {
      if (line === '') continue
      const event = eventOf(line)
      if (event === undefined) unreadable++
      else events.push(event)
    }
  }
  return { events, unreadable }
}

/** Producers come before the nodes that train: clocks of nodes are not compared. */
async function eventsFiles(dir: string, own: string): Promise<readonly string[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  })
  const others = names
    .filter((name) => OTHERS.test(name))
    .sort()
    .reverse()
  return [...[...others, EVENTS_NAME].filter((name) => name !== own), own]
}

/** One line as an event, or undefined if it is not a valid event. */
export function eventOf(line: string): RunEvent | undefined {
  try {
    return parseEvent(JSON.parse(line))
  } catch {
    return undefined
  }
}

// A long run writes many events: the longest text that Node can have is the bound.
const textOf = async (file: string): Promise<string> =>
  (await readTextOrNull(file, { maxBytes: constants.MAX_STRING_LENGTH })) ?? ''
