import { constants, type WriteStream } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { CodedError } from '../core/errors.ts'
import { openPlain } from '../core/files/plain-file.ts'
import { storageError } from '../core/files/storage-error.ts'
import { monotonic } from '../core/liveness/monotonic.ts'
import { RANK_STDIO } from './lifeline.ts'
import { nodeArguments } from './node-program.ts'
import { errorOf, FromRank, failureMessage, RANK_SPEC, type RankFailure, type ToRank } from './rank-message.ts'

/** The last lines of a rank's output that its error shows. */
const TAIL_LINES = 20
/** How long to wait for the last messages and lines after a process has exited. */
const FLUSH_MS = 1000

export interface RankStart {
  readonly rank: number
  readonly program: string
  readonly spec: unknown
  /** What the process is: the word before its number in errors and in the name of its log. */
  readonly called: 'rank' | 'part'
  /** Beside the environment of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** The folder for `rank-<n>.log`: everything that the process and its libraries print. */
  readonly logDir: string | null
  readonly onEvent: (rank: number, body: unknown) => void
}

/** The result of a rank. When ranks fail together, the failure with the lowest `blame` is the cause of the others. */
export type Ending =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly blame: number; readonly error: CodedError }

/** Beside this file, with the same ending: `.ts` in a checkout, `.js` in a build. */
const START = fileURLToPath(import.meta.url).replace('rank-process', 'rank-start')

function spawn(program: string, spec: unknown, env: RankStart['env']) {
  return execa(process.execPath, [...nodeArguments(START), program], {
    ipc: true,
    serialization: 'json',
    buffer: false,
    reject: false,
    stdio: RANK_STDIO,
    env: { ...env, [RANK_SPEC]: JSON.stringify(spec) },
    // The supervisor decides when SIGKILL follows SIGTERM.
    forceKillAfterDelay: false,
    // Else a signal that asks this process for a safe stop would end both at once.
    cleanup: false,
  })
}

/** One Node process that runs one rank. The rank ends itself when this process ends, for whatever reason: see `lifeline.ts`. */
export class RankProcess {
  readonly rank: number
  readonly #called: RankStart['called']
  /** Resolves when the rank reports success or failure, or exits without a report. Never rejects. */
  readonly ending: Promise<Ending>
  /** Resolves when the process has exited. */
  readonly exited: Promise<void>
  #lastSeen = monotonic.now()
  #phase = 'starting'
  #ended = false
  readonly #tail: string[] = []
  readonly #logFile: string | null
  readonly #child: ReturnType<typeof spawn>

  constructor({ rank, called, program, spec, env, logDir, onEvent }: RankStart) {
    this.rank = rank
    this.#called = called
    this.#logFile = logDir === null ? null : path.join(logDir, `${called}-${rank}.log`)
    this.#child = spawn(program, spec, env)
    const flushed = this.#keepLines()
    const exitEvent = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()))
    const disconnected = new Promise<void>((resolve) => this.#child.once('disconnect', () => resolve()))
    // Resolves without an exit event if the process could not be started.
    const settled = this.#child.then(() => undefined)
    this.exited = Promise.race([exitEvent, settled])
    this.ending = new Promise((resolveEnding) => {
      const resolve = (ending: Ending) => {
        this.#ended = true
        resolveEnding(ending)
      }
      this.#child.on('message', (message: unknown) => this.#receive(message, onEvent, resolve))
      const drained = this.exited.then(() => Promise.race([Promise.all([disconnected, flushed]), sleep(FLUSH_MS)]))
      drained.then(() => resolve(this.#died()), resolve)
    })
  }

  /** True once `ending` has resolved. */
  get ended(): boolean {
    return this.#ended
  }

  get silentMs(): number {
    return monotonic.now() - this.#lastSeen
  }

  /** Asks the rank to stop at its next safe point. */
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
    const text = this.#withLog(`${this.#called} ${this.rank} has sent no heartbeat for ${seconds} s`)
    return { ok: false, blame: 0, error: new CodedError('RANK_HUNG', text, { rank: this.rank, phase: this.#phase }) }
  }

  #receive(raw: unknown, onEvent: RankStart['onEvent'], resolve: (ending: Ending) => void): void {
    this.#lastSeen = monotonic.now()
    const message = FromRank.safeParse(raw).data
    if (message?.type === 'phase') this.#phase = message.phase
    else if (message?.type === 'event') this.#forward(message.body, onEvent, resolve)
    else if (message?.type === 'done') resolve({ ok: true, result: message.result })
    else if (message?.type === 'failed') resolve(this.#failed(message))
  }

  /** A failure to write an event ends the run: without events a user could not follow it. */
  #forward(body: unknown, onEvent: RankStart['onEvent'], resolve: (ending: Ending) => void): void {
    try {
      onEvent(this.rank, body)
    } catch (cause) {
      const error = storageError(cause, 'the events of the run', 'the events file')
      resolve(error instanceof CodedError ? { ok: false, blame: 0, error } : this.#failed(failureMessage(error)))
    }
  }

  #failed(failure: RankFailure): Ending {
    const error = errorOf(`${this.#called}:`, this.rank, failure)
    // When one rank dies, collectives raise an exception in the others. So an exception is rarely the cause.
    if (error?.code === 'PYTHON_RAISED') return { ok: false, blame: 3, error }
    if (error) return { ok: false, blame: 1, error }
    const text = this.#withLog(`${this.#called} ${this.rank} failed: ${failure.stack}`)
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
    const error = new CodedError('RANK_DIED', this.#withLog(`${this.#called} ${this.rank} ${how}`), details)
    return { ok: false, blame: signalCode === null ? 2 : 0, error }
  }

  /** The message with the phase, the log file and the last lines of the rank. */
  #withLog(what: string): string {
    const log = this.#logFile === null ? [] : [`  log:   ${this.#logFile}`]
    const tail = this.#tail.length === 0 ? [] : ['  last lines:', ...this.#tail.map((line) => `    ${line}`)]
    return [what, `  phase: ${this.#phase}`, ...log, ...tail].join('\n')
  }

  async #keepLines(): Promise<void> {
    // A log that cannot be written must not end the run.
    const missing = (error: Error): null => {
      this.#tail.push(`(cannot write the log: ${error.message})`)
      return null
    }
    const log = this.#logFile === null ? null : await logStream(this.#logFile).catch(missing)
    log?.on('error', missing)
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

async function logStream(file: string): Promise<WriteStream> {
  const { O_WRONLY, O_APPEND, O_CREAT } = constants
  return (await openPlain(file, undefined, O_WRONLY | O_APPEND | O_CREAT)).createWriteStream()
}
