import { appendFileSync, closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { isErrno } from '../../core/errors.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { type EventBody, type EventSink, parseEvent, type RunEvent } from './events.ts'

export const EVENTS_NAME = 'events.ndjson'
export type Listener = (event: RunEvent) => void

export interface EventsFileOptions {
  readonly dir: string
  readonly runId: string
  readonly clock: Clock
  readonly listeners?: readonly Listener[]
}

/**
 * `events.ndjson` of one run. A line is one append, so that several processes of a run may share the file, and it is
 * written before listeners hear of it: what was shown can be read back.
 */
export class EventsFile implements EventSink, Disposable {
  readonly #options: EventsFileOptions
  readonly #file: number

  constructor(options: EventsFileOptions) {
    this.#options = options
    mkdirSync(options.dir, { recursive: true })
    this.#file = openSync(path.join(options.dir, EVENTS_NAME), 'a+')
    // A process that was killed may have left half a line; the next event must not be glued to it.
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

/** The wire form of an event, as it stands in the file and on stdout with `--json-lines`. */
export function eventLine({ body, ...stamp }: RunEvent): string {
  return JSON.stringify({ ...stamp, ...body })
}

/** All events of a run's folder; none when it has no file. Lines that a killed process tore are left out and counted. */
export async function readEvents(dir: string): Promise<{ events: RunEvent[]; torn: number }> {
  const events: RunEvent[] = []
  let torn = 0
  for (const line of (await textOf(path.join(dir, EVENTS_NAME))).split('\n')) {
    if (line === '') continue
    const event = eventOf(line)
    if (event === undefined) torn++
    else events.push(event)
  }
  return { events, torn }
}

/** One line as an event, or undefined when it is none. */
export function eventOf(line: string): RunEvent | undefined {
  try {
    return parseEvent(JSON.parse(line))
  } catch {
    return undefined
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}
