#!/usr/bin/env node
import { CommanderError } from 'commander'
import { packageVersion } from '../core/package-version.ts'
import { buildProgram } from './program.ts'
import { outliveOutput } from './sessions/outlive-output.ts'
import { listenForStop } from './sessions/stop.ts'
import { describeError } from './texts/print-error.ts'

const EXIT_USAGE = 2
/** How long a finished command may still wait for open handles, such as a running Python call, before it exits. */
const EXIT_GRACE_MS = 3000

const print = (text: string): void => {
  process.stderr.write(`draftbridge: ${text}\n`)
}

async function main(args: readonly string[]): Promise<void> {
  outliveOutput(print)
  // Once the command is over a signal ends the process, whatever still runs.
  using stop = listenForStop(print)
  try {
    await buildProgram(await packageVersion(), stop).parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.code === 'commander.help' || error.exitCode !== 0 ? EXIT_USAGE : 0
      return
    }
    const { text, exitCode } = describeError(
      error,
      args.some((arg) => arg === '--verbose' || arg === '-v'),
    )
    process.stderr.write(`${text}\n`)
    process.exitCode = exitCode
  }
}

await main(process.argv.slice(2))
setTimeout(() => process.exit(), EXIT_GRACE_MS).unref()
