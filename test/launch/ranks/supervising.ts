import { supervise } from '../../../src/launch/supervisor.ts'

// A supervisor in its own process, so that a test can kill it.
const [program = '', pids = '', ...acts] = process.argv.slice(2)
await supervise({
  program,
  ranks: acts.map((act, rank) => ({ rank, spec: { act, pids, ranks: acts.length } })),
  graceSeconds: 60,
  signal: new AbortController().signal,
})
