import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { eventOf } from '../../src/report/events/events-file.ts'
import { Progress } from '../../src/report/text/progress.ts'

export interface CommandsOptions {
  readonly checkout: string
  readonly env: NodeJS.ProcessEnv
}

/** A command that ended badly; what it said is on the screen already. */
export class CommandFailed extends Error {
  readonly exitCode: number
  constructor(name: string, exitCode: number) {
    super(`${name} ended with exit code ${exitCode}`)
    this.exitCode = exitCode
  }
}

const PATIENCE_MS = 20_000

/** Commands of `draftbridge`, each in a process of its own, with their events shown on one screen. */
export class Commands {
  readonly #options: CommandsOptions
  readonly #running = new Set<ChildProcess>()
  #failure: CommandFailed | undefined

  constructor(options: CommandsOptions) {
    this.#options = options
  }

  /** Runs one command to its end. When one fails, the others are asked to stop. */
  async run(name: string, args: readonly string[]): Promise<void> {
    const { checkout, env } = this.#options
    const main = path.join(checkout, 'src', 'cli', 'main.ts')
    const argv = ['--import', 'tsx', main, ...args, '--json-lines', '--quiet']
    // Detached, so that a Ctrl-C in the terminal reaches only this process, which passes it on once.
    const child = spawn(process.execPath, argv, {
      cwd: checkout,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#running.add(child)
    const exitCode = await shown(child, name)
    this.#running.delete(child)
    if (exitCode === 0) return
    // What fails after the first does so because it was asked to stop, or because its peer is gone.
    this.#failure ??= new CommandFailed(name, exitCode)
    this.stop('SIGTERM')
    throw this.#failure
  }

  /** Passes the wish to stop on; who does not follow in time is ended. */
  stop(signal: NodeJS.Signals): void {
    const asked = [...this.#running]
    for (const child of asked) child.kill(signal)
    setTimeout(() => {
      for (const child of asked) child.kill('SIGKILL')
    }, PATIENCE_MS).unref()
  }
}

/** Shows what a command reports until it has ended and said all; gives its exit code. */
function shown(child: ChildProcess, name: string): Promise<number> {
  const label = `${name.padEnd(8)} | `
  const progress = new Progress({ screen: process.stderr, env: process.env, label })
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = eventOf(line)
      if (event !== undefined) progress.hear(event)
    })
  }
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', (line) => progress.say(line))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      progress.clear()
      resolve(code ?? 70)
    })
  })
}
