import { type ChildProcessByStdio, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Answer, Request } from './worker.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
type Child = ChildProcessByStdio<Writable, Readable, null>

/** A worker process, seen from the process that drives it. Answers come in the order of the requests; null: it was killed. */
export class WorkerProcess implements AsyncDisposable {
  readonly pid: number
  readonly #child: Child
  readonly #waiting: ((answer: Answer | null) => void)[] = []
  #ended = false

  private constructor(child: Child) {
    this.#child = child
    this.pid = child.pid ?? 0
    child.stdin.on('error', () => undefined)
    const lines = createInterface({ input: child.stdout })
    lines.on('line', (line) => this.#waiting.shift()?.(JSON.parse(line)))
    child.on('close', () => {
      this.#ended = true
      for (const resolve of this.#waiting.splice(0)) resolve(null)
    })
  }

  static async start(): Promise<WorkerProcess> {
    // One libuv thread, so that the calls of an operation are made by the same threads each time.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '1', OMP_NUM_THREADS: '1' }
    const args = ['--import', 'tsx', path.join(here, 'worker.ts')]
    const child = spawn(process.execPath, args, {
      cwd: path.resolve(here, '../..'),
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const worker = new WorkerProcess(child)
    if ((await worker.#answer()) === null) throw new Error('the worker ended before it was ready')
    return worker
  }

  ask(request: Request): Promise<Answer | null> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`)
    return this.#answer()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    const closed = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.kill('SIGKILL')
    await closed
  }

  #answer(): Promise<Answer | null> {
    if (this.#ended) return Promise.resolve(null)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}
