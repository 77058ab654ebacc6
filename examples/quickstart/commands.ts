import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { eventOf } from '../../src/report/events/events-file.ts'
import { Progress } from '../../src/report/text/progress.ts'

export interface CommandsOptions {
  readonly checkout: string
  readonly env: NodeJS.ProcessEnv
}

/** A command failed. Its own message is on the screen already. */
export class CommandFailed extends Error {
  readonly exitCode: number
  constructor(name: string, exitCode: number) {
    super(`${name} ended with exit code ${exitCode}`)
    this.exitCode = exitCode
  }
}

/** How long a command may take to stop before it is killed. */
const STOP_TIMEOUT_MS = 20_000

/** Runs commands of `draftbridge` as separate processes and shows their progress on one screen. */
export class Commands {
  readonly #options: CommandsOptions
  readonly #running = new Set<ChildProcess>()
  #failure: CommandFailed | undefined

  constructor(options: CommandsOptions) {
    this.#options = options
  }

  /** Runs one command to its end. When it fails, the other commands are asked to stop. */
  async run(name: string, args: readonly string[]): Promise<void> {
    const { checkout, env } = this.#options
    const main = path.join(checkout, 'src', 'cli', 'main.ts')
    const argv = ['--import', 'tsx', main, ...args, '--json-lines', '--quiet']
    // Detached, so that Ctrl-C in the terminal reaches only this process, which forwards it once.
    const child = spawn(process.execPath, argv, {
      cwd: checkout,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#running.add(child)
    const exitCode = await showUntilEnd(child, name)
    this.#running.delete(child)
    if (exitCode === 0) return
    // Later failures follow from the first: those commands were asked to stop, or their peer is gone.
    this.#failure ??= new CommandFailed(name, exitCode)
    this.stop('SIGTERM')
    throw this.#failure
  }

  /** Sends the signal to all running commands. Those that do not stop in time are killed. */
  stop(signal: NodeJS.Signals): void {
    const stopping = [...this.#running]
    for (const child of stopping) child.kill(signal)
    setTimeout(() => {
      for (const child of stopping) child.kill('SIGKILL')
    }, STOP_TIMEOUT_MS).unref()
  }
}

/** Shows a command's events and messages until it has ended. Gives its exit code. */
function showUntilEnd(child: ChildProcess, name: string): Promise<number> {
  const label = `${name.padEnd(8)} | `
  const progress = new Progress({ screen: process.stderr, env: process.env, label })
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = eventOf(line)
      if (event !== undefined) progress.show(event)
    })
  }
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', (line) => progress.printLine(line))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      progress.clear()
      resolve(code ?? 70)
    })
  })
}
