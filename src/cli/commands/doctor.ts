import type { Command } from 'commander'
import { type RunFlags, withConfigFlags, withExamples } from '../flags.ts'

const EXIT_UNAVAILABLE = 69
const MARKS = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' } as const

export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check Node, Python, the bridge, torch, the GPUs, and the files that the config names')
  withExamples(command, ['doctor', 'doctor -c draftbridge.yaml', 'doctor --json'])
  withConfigFlags(command)
    .option('--json', 'print the findings as one JSON document on stdout')
    .action(async (flags: RunFlags) => {
      const [{ runChecks }, { optionalConfig }] = await Promise.all([
        import('../../roles/doctor/doctor.ts'),
        import('../sessions/optional-config.ts'),
      ])
      const checks = await runChecks(await optionalConfig(flags, command.getOptionValueSource('config') === 'cli'))
      if (flags.json === true) process.stdout.write(`${JSON.stringify({ checks }, null, 2)}\n`)
      const shown = flags.quiet === true ? checks.filter(({ state }) => state === 'error') : checks
      const width = Math.max(...shown.map(({ id }) => id.length))
      for (const { id, state, reason, fix } of shown) {
        process.stderr.write(`${MARKS[state]}  ${id.padEnd(width)} ${reason}\n`)
        if (fix !== undefined) process.stderr.write(`${' '.repeat(width + 10)}fix: ${fix}\n`)
      }
      if (checks.some(({ state }) => state === 'error')) process.exitCode = EXIT_UNAVAILABLE
    })
}
