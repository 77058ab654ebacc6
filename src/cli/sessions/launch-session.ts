import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../config/load.ts'
import { finding } from '../../core/errors.ts'
import { slurmFile, writeJobFile } from '../../roles/launch/launch-files.ts'
import { launchLocal } from '../../roles/launch/launch-local.ts'
import type { CommonFlags } from '../flags.ts'
import { shellWord } from '../texts/shell-word.ts'
import type { Stop } from './stop.ts'

export interface LaunchFlags extends CommonFlags {
  readonly config: string
  readonly set: readonly string[]
  readonly on: 'local' | 'rcli' | 'slurm'
  readonly out?: string
  readonly sbatch: readonly string[]
  readonly restarts: string
}

/** The words that start this very program, on any machine that has the same checkout or package at the same path. */
const ENTRY = fileURLToPath(
  import.meta.url.endsWith('.ts')
    ? new URL('../../../scripts/draftbridge.mjs', import.meta.url)
    : new URL('../main.js', import.meta.url),
)
const PROGRAM = [process.execPath, ENTRY]

export async function launch(flags: LaunchFlags, stop: Stop): Promise<void> {
  const config = await loadConfig({ file: flags.config, env: process.env, sets: flags.set })
  const configFile = path.resolve(flags.config)
  const run = ['-c', configFile, ...flags.set.flatMap((set) => ['--set', set])]
  if (flags.on === 'local') return launchHere(config, run, stop)
  if (flags.on === 'slurm') {
    const restarts = wholeNumber(flags.restarts)
    const { set: sets, sbatch: options, out } = flags
    return deliver(await slurmFile(config, { configFile, program: PROGRAM, sets, options, restarts }), out, 0o755)
  }
  const line = [...PROGRAM, 'run', ...run].map(shellWord).join(' ')
  return deliver(`rcli exec --per-node ${shellWord(line)}\n`, flags.out, 0o644)
}

async function launchHere(config: Parameters<typeof launchLocal>[0], flags: readonly string[], stop: Stop) {
  const onLine = (label: string, line: string): void => {
    process.stderr.write(`[${label}] ${line}\n`)
  }
  const failure = await launchLocal(config, { program: PROGRAM, flags, signal: stop.signal, onLine })
  if (failure !== null) process.exitCode = failure.exitCode
}

async function deliver(text: string, out: string | undefined, mode: number): Promise<void> {
  if (out === undefined) process.stdout.write(text)
  else await writeJobFile(path.resolve(out), text, mode)
}

function wholeNumber(text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text)
  throw finding('CONFIG_INVALID', 'this is no number of restarts', {
    field: '--restarts',
    found: text,
    fix: 'give a whole number from 0 to 999',
  })
}
