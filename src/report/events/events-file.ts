import { constants } from 'node:buffer'
import { appendFileSync, closeSync, constants as flags, fstatSync, mkdirSync, readSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { openPlainSync } from '../../core/files/plain-file.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { type EventBody, type EventSink, parseEvent, type RunEvent } from './events.ts'

export const EVENTS_NAME = 'events.ndjson'
const APPEND = flags.O_RDWR | flags.O_APPEND | flags.O_CREAT
export type Listener = (event: RunEvent) => void

export interface EventsFileOptions {
  readonly dir: string
  readonly runId: string
  readonly clock: Clock
  readonly listeners?: readonly Listener[]
}

/**
 * `events.ndjson` of one run. Each line is written with one append, so several processes of a run can share the file. A
 * line is written before the listeners get the event, so everything on the screen is also in the file.
 */
export class EventsFile implements EventSink, Disposable {
  readonly #options: EventsFileOptions
  readonly #file: number

  constructor(options: EventsFileOptions) {
    this.#options = options
    mkdirSync(options.dir, { recursive: true })
    this.#file = openPlainSync(path.join(options.dir, EVENTS_NAME), undefined, APPEND)
    // A killed process may have left an incomplete line. The next event must start on its own line.
    if (!endsWithNewline(this.#file)) appendFileSync(this.#file, '\n')
  }

  emit(body: EventBody): void {
    const { clock, runId, dir, listeners = [] } = this.#options
    const stamp = { v: 1 as const, ts: clock.now(), runId }
    try {
      appendFileSync(this.#file, `${JSON.stringify({ ...stamp, ...body })}\n`)
    } catch (cause) {
      throw storageError(cause, path.join(dir, EVENTS_NAME), 'the folder of the run')
    }
    for (const listener of listeners) listener({ ...stamp, body })
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
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

/** All events of a run folder; none if there is no events file. `unreadable` counts lines that are not an event. */
export async function readEvents(dir: string): Promise<{ events: RunEvent[]; unreadable: number }> {
  const events: RunEvent[] = []
  let unreadable = 0
  for (const line of (await textOf(path.join(dir, EVENTS_NAME))).split('\n')) {
    if (line === '') continue
    const event = eventOf(line)
    if (event === undefined) unreadable++
    else events.push(event)
  }
  return { events, unreadable }
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
