import { createWriteStream } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { CodedError } from '../core/errors.ts'
import { storageError } from '../core/files/storage-error.ts'
import { nodeArguments } from './node-program.ts'
import { errorOf, FromRank, failureMessage, RANK_SPEC, type RankFailure, type ToRank } from './rank-message.ts'

const TAIL_LINES = 20
/** How long the last messages and lines of a process that has ended may still be under way. */
const FLUSH_MS = 1000

export interface RankStart {
  readonly rank: number
  readonly program: string
  readonly spec: unknown
  /** A folder, where `rank-<n>.log` goes: everything that the process and the libraries in it print. */
  readonly logDir: string | null
  readonly onEvent: (rank: number, body: unknown) => void
}

/** How a rank ended. `blame` orders failures that come together: the least is the cause, the others followed from it. */
export type Ending =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly blame: number; readonly error: CodedError }

function spawn(program: string, spec: unknown) {
  return execa(process.execPath, [...nodeArguments(program)], {
    ipc: true,
    serialization: 'json',
    buffer: false,
    reject: false,
    stdin: 'ignore',
    env: { [RANK_SPEC]: JSON.stringify(spec) },
    // When to go from SIGTERM to SIGKILL is the supervisor's decision.
    forceKillAfterDelay: false,
  })
}

/** One Node process that hosts one rank. It is killed with this process, whichever way this process ends. */
export class RankProcess {
  readonly rank: number
  /** Resolves once the rank says that it is done or has failed, or is gone without a word. Never rejects. */
  readonly ending: Promise<Ending>
  /** Resolves when the process is no more. */
  readonly gone: Promise<void>
  #lastSeen = Date.now()
  #phase = 'starting'
  #ended = false
  readonly #tail: string[] = []
  readonly #logFile: string | null
  readonly #child: ReturnType<typeof spawn>

  constructor({ rank, program, spec, logDir, onEvent }: RankStart) {
    this.rank = rank
    this.#logFile = logDir === null ? null : path.join(logDir, `rank-${rank}.log`)
    this.#child = spawn(program, spec)
    const flushed = this.#keepLines()
    const exited = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()))
    const unlinked = new Promise<void>((resolve) => this.#child.once('disconnect', () => resolve()))
    const spawned = this.#child.then(() => undefined)
    this.gone = Promise.race([exited, spawned])
    this.ending = new Promise((tell) => {
      const resolve = (ending: Ending) => {
        this.#ended = true
        tell(ending)
      }
      this.#child.on('message', (message: unknown) => this.#hear(message, onEvent, resolve))
      const silent = this.gone.then(() => Promise.race([Promise.all([unlinked, flushed]), sleep(FLUSH_MS)]))
      silent.then(() => resolve(this.#died()), resolve)
    })
  }

  /** Whether `ending` is known. */
  get ended(): boolean {
    return this.#ended
  }

  get silentMs(): number {
    return Date.now() - this.#lastSeen
  }

  /** Asks the rank to end at its next safe point. */
  stop(): void {
    const message: ToRank = { type: 'stop' }
    if (this.#child.connected) this.#child.send?.(message, () => undefined)
  }

  terminate(): void {
    this.#child.kill('SIGTERM')
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  hung(): Ending {
    const seconds = Math.round(this.silentMs / 1000)
    const text = this.#told(`rank ${this.rank} has given no sign of life for ${seconds} s`)
    return { ok: false, blame: 0, error: new CodedError('RANK_HUNG', text, { rank: this.rank, phase: this.#phase }) }
  }

  #hear(raw: unknown, onEvent: RankStart['onEvent'], resolve: (ending: Ending) => void): void {
    this.#lastSeen = Date.now()
    const message = FromRank.safeParse(raw).data
    if (message?.type === 'phase') this.#phase = message.phase
    else if (message?.type === 'event') this.#pass(message.body, onEvent, resolve)
    else if (message?.type === 'done') resolve({ ok: true, result: message.result })
    else if (message?.type === 'failed') resolve(this.#failed(message))
  }

  /** What cannot be told ends the run: nobody would know of what follows. */
  #pass(body: unknown, onEvent: RankStart['onEvent'], resolve: (ending: Ending) => void): void {
    try {
      onEvent(this.rank, body)
    } catch (cause) {
      const error = storageError(cause, 'the events of the run', 'the events file')
      resolve(error instanceof CodedError ? { ok: false, blame: 0, error } : this.#failed(failureMessage(error)))
    }
  }

  #failed(failure: RankFailure): Ending {
    const error = errorOf(this.rank, failure)
    // Ranks that talk to a dead one fail with an exception out of the process group: an effect, hardly ever the cause.
    if (error?.code === 'PYTHON_RAISED') return { ok: false, blame: 3, error }
    if (error) return { ok: false, blame: 1, error }
    const text = this.#told(`rank ${this.rank} failed: ${failure.stack}`)
    const details = { rank: this.rank, phase: this.#phase }
    return { ok: false, blame: 2, error: new CodedError('RANK_DIED', text, details) }
  }

  #died(): Ending {
    const { exitCode, signalCode } = this.#child
    const how = signalCode === null ? `exited with status ${exitCode ?? 'unknown'}` : `was killed by ${signalCode}`
    const details = {
      rank: this.rank,
      phase: this.#phase,
      ...(exitCode === null ? {} : { exitCode }),
      ...(signalCode === null ? {} : { signal: signalCode }),
    }
    const error = new CodedError('RANK_DIED', this.#told(`rank ${this.rank} ${how}`), details)
    return { ok: false, blame: signalCode === null ? 2 : 0, error }
  }

  #told(what: string): string {
    const log = this.#logFile === null ? [] : [`  log:   ${this.#logFile}`]
    const tail = this.#tail.length === 0 ? [] : ['  last lines:', ...this.#tail.map((line) => `    ${line}`)]
    return [what, `  phase: ${this.#phase}`, ...log, ...tail].join('\n')
  }

  async #keepLines(): Promise<void> {
    const log = this.#logFile === null ? null : createWriteStream(this.#logFile, { flags: 'a' })
    // A run is worth more than its log.
    log?.on('error', (error) => this.#tail.push(`(the log cannot be written: ${error.message})`))
    const read = async (stream: Readable) => {
      for await (const line of createInterface({ input: stream })) {
        if (log?.errored === null) log.write(`${line}\n`)
        this.#tail.push(line.slice(0, 400))
        if (this.#tail.length > TAIL_LINES) this.#tail.shift()
      }
    }
    try {
      await Promise.all([read(this.#child.stdout), read(this.#child.stderr)])
    } finally {
      log?.end()
    }
  }
}
