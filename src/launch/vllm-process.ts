import { constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { finding } from '../core/errors.ts'
import { makeFolder } from '../core/files/make-folder.ts'
import { openPlain } from '../core/files/plain-file.ts'
import { STORE_KEY_ENV } from '../core/store-key-env.ts'
import {
  engineDied,
  type FromVllm,
  noInterpreter,
  noVllm,
  parseVllmLine,
  type VllmOrder,
  type WrittenStates,
} from './vllm-message.ts'

const SCRIPT = fileURLToPath(new URL('../../python/vllm_child/extract_states.py', import.meta.url))
/** The last lines of the child's output that its error shows. */
const TAIL_LINES = 20
/** How long to wait for the last lines after the process has exited, which its own children may hold open. */
const FLUSH_MS = 1000
/** How long the child may take to end itself once its stdin is closed. */
const END_MS = 5000

export interface VllmStart extends Omit<VllmOrder, 'scratch'> {
  readonly python: string
  /** The folder for the scratch folder. Null: that of temporary files. */
  readonly scratch: string | null
  /** Everything that vLLM prints. */
  readonly log: string
  /** Default: the script of this package. */
  readonly script?: string
}

function spawn(python: string, script: string) {
  const { [STORE_KEY_ENV]: _key, PYTHONPATH: _path, PYTHONHOME: _home, ...env } = process.env
  // Isolated: vLLM's environment must not find the packages of ours. A group of its own: it is ended whole, and Ctrl-C
  // reaches this process only, which stops at a safe point.
  return execa(python, ['-I', script], {
    stdio: 'pipe',
    buffer: false,
    reject: false,
    detached: true,
    extendEnv: false,
    env,
  })
}

interface Waiting {
  readonly resolve: (written: WrittenStates) => void
  readonly reject: (error: unknown) => void
}

/**
 * A process that runs a target in vLLM. It writes the hidden states of each sample to a file in a scratch folder, which is
 * removed with it. When this process ends, for whatever reason, the kernel closes the child's stdin, and the child ends.
 */
export class VllmProcess implements AsyncDisposable {
  readonly #given: VllmStart
  readonly #scratch: string
  readonly #child: ReturnType<typeof spawn>
  readonly #waiting = new Map<number, Waiting>()
  readonly #tail: string[] = []
  #ready: { readonly resolve: (version: string) => void; readonly reject: (error: unknown) => void } | null = null
  #error: unknown = null
  #closing: Promise<void> | null = null
  #version = ''
  #next = 0

  private constructor(given: VllmStart, scratch: string) {
    this.#given = given
    this.#scratch = scratch
    this.#child = spawn(given.python, given.script ?? SCRIPT)
    // How it ended is told where its output ends.
    this.#child.stdin.on('error', () => undefined)
  }

  /** Resolves when the target is loaded. @throws PYTHON_UNAVAILABLE without vLLM, ENGINE_DIED when it cannot load it. */
  static async start(given: VllmStart): Promise<VllmProcess> {
    await makeFolder(path.dirname(given.log), 'run.dir')
    if (given.scratch !== null) await makeFolder(given.scratch, 'target.vllm.scratch')
    const scratch = await mkdtemp(path.join(given.scratch ?? tmpdir(), 'draftbridge-vllm-'))
    const started = new VllmProcess(given, scratch)
    try {
      started.#version = await started.#loaded()
      return started
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Of vLLM. */
  get version(): string {
    return this.#version
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Runs the target on a sample. `logprobs`: of how many likely tokens at each position, 0 for none. */
  run(ids: readonly number[], logprobs = 0): Promise<WrittenStates> {
    if (this.#error !== null) return Promise.reject(this.#error)
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#send({ id, ids, logprobs })
    })
  }

  /** Ends the process and removes its files. Further calls wait for the first one. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#end(finding('ENGINE_DIED', 'the process of vLLM was ended', {}))
    this.#child.stdin.end()
    await Promise.race([this.#child, sleep(END_MS, undefined, { ref: false })])
    // Whatever vLLM started belongs to its group.
    if (this.#child.pid !== undefined) killGroup(this.#child.pid)
    await this.#child
    await rm(this.#scratch, { recursive: true, force: true })
  }

  #loaded(): Promise<string> {
    const { model, dtype, layers, maxModelLen, args } = this.#given
    return new Promise((resolve, reject) => {
      this.#ready = { resolve, reject }
      this.#follow().catch((error: unknown) => this.#end(error))
      this.#send({ model, dtype, layers, scratch: this.#scratch, maxModelLen, args })
    })
  }

  #send(message: unknown): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`)
  }

  /** Reads what the child says until it ends. */
  async #follow(): Promise<void> {
    const logged = this.#keepLog()
    for await (const line of createInterface({ input: this.#child.stdout })) this.#receive(parseVllmLine(line))
    const { exitCode, signal, code, originalMessage } = await this.#child
    await Promise.race([logged, sleep(FLUSH_MS)])
    if (code === 'ENOENT' || code === 'EACCES') throw noInterpreter(this.#given.python, originalMessage ?? code)
    this.#died(signal === undefined ? `it exited with status ${exitCode ?? 'unknown'}` : `it was killed by ${signal}`)
  }

  #died(found: string): void {
    const what = this.#version === '' ? 'vLLM cannot run the target' : 'vLLM ended before the capture was done'
    this.#end(engineDied(what, { found, log: this.#given.log, tail: this.#tail }))
  }

  #receive(message: FromVllm): void {
    if ('ready' in message) this.#ready?.resolve(message.ready.vllm)
    else if ('failed' in message && message.missing) this.#end(noVllm(this.#given.python, message.failed))
    else if ('failed' in message) this.#died(message.failed)
    else this.#answer(message)
  }

  #answer(message: Extract<FromVllm, { id: number }>): void {
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if ('file' in message) waiting?.resolve({ file: message.file, logprobs: message.logprobs })
    else waiting?.reject(refused(message.error))
  }

  /** The first error counts: it is the cause of those behind it. */
  #end(error: unknown): void {
    this.#error ??= error
    this.#ready?.reject(this.#error)
    for (const { reject } of this.#waiting.values()) reject(this.#error)
    this.#waiting.clear()
  }

  async #keepLog(): Promise<void> {
    const { O_WRONLY, O_APPEND, O_CREAT } = constants
    const log = (await openPlain(this.#given.log, undefined, O_WRONLY | O_APPEND | O_CREAT)).createWriteStream()
    // A log that cannot be written must not end the capture.
    log.on('error', () => undefined)
    for await (const line of createInterface({ input: this.#child.stderr })) {
      if (log.errored === null) log.write(`${line}\n`)
      this.#tail.push(line.slice(0, 400))
      if (this.#tail.length > TAIL_LINES) this.#tail.shift()
    }
    log.end()
  }
}

const refused = (found: string) =>
  finding('FEATURE_INVALID', 'vLLM gives no hidden states of this conversation', {
    found,
    fix: 'see the log of vLLM in the run folder; check the free space of target.vllm.scratch',
  })

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // No process of the group is left.
  }
}
