import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

/** The real program, from the sources, in a real process. `env`: beside that of the test. */
export const started = (env: NodeJS.ProcessEnv, ...args: string[]): Started => startedBehind([], env, ...args)

/** The same, as the last words of another command line. */
export function startedBehind(before: readonly string[], env: NodeJS.ProcessEnv, ...args: string[]): Started {
  const [program = process.execPath, ...words] = [...before, process.execPath, '--import', 'tsx', 'src/cli/main.ts']
  return watchedChild(spawn(program, [...words, ...args], { cwd: checkout, env: { ...process.env, ...env } }))
}

/** A process of any program, and what it prints. */
export function watchedChild(child: ChildProcess): Started {
  const text = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) child[name]?.on('data', (chunk) => (text[name] += String(chunk)))
  return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text }))) }
}

/** The same, to its end. */
export const draftbridge = (...args: string[]): Promise<Ended> => started({}, ...args).ended
