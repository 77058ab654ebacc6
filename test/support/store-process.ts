import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { SharedDirStoreOptions } from '../../src/store/open.ts'
import type { Answer, Command } from './store-child.ts'

const program = fileURLToPath(new URL('store-child.ts', import.meta.url))

/** What is on its way when the child is killed comes out as this. */
export const KILLED = 'the process was killed'

/** `store-child.ts` as its parent sees it. */
export class StoreProcess implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting: ((answer: Answer | null) => void)[] = []
  readonly #ended: Promise<unknown>
  readonly acknowledged: string[] = []
  memberId = ''

  /** `host`: a command that runs the rest of its line, such as `ip netns exec NAME`. */
  static async open(
    options: Omit<SharedDirStoreOptions, 'python'>,
    host: readonly string[] = [],
  ): Promise<StoreProcess> {
    const child = new StoreProcess(options, host)
    child.memberId = (await child.#answer()).memberId ?? ''
    return child
  }

  private constructor(options: Omit<SharedDirStoreOptions, 'python'>, host: readonly string[]) {
    const line = [...host, process.execPath, '--import', 'tsx', program, JSON.stringify(options)]
    const cwd = path.resolve(path.dirname(program), '../..')
    this.#child = spawn(line[0] as string, line.slice(1), { cwd, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#ended = once(this.#child, 'close')
    this.#child.stdin.on('error', () => undefined)
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(JSON.parse(line) as Answer))
    this.#child.on('close', () => {
      for (const resolve of this.#waiting.splice(0)) resolve(null)
    })
  }

  /** The answer; an error comes back as one, with its code in the text. */
  async ask(command: Command): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    const answer = await this.#answer()
    if (answer.error !== undefined) throw Object.assign(new Error(answer.error.message), { code: answer.error.code })
    return answer
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #take(answer: Answer): void {
    if (answer.acknowledged !== undefined) this.acknowledged.push(answer.acknowledged)
    else this.#waiting.shift()?.(answer)
  }

  async #answer(): Promise<Answer> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error(KILLED)
    const answer = await new Promise<Answer | null>((resolve) => this.#waiting.push(resolve))
    if (answer === null) throw new Error(KILLED)
    return answer
  }
}
