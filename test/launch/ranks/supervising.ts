import { supervise } from '../../../src/launch/supervisor.ts'

// A supervisor in its own process, so that a test can kill it.
const [program = '', pids = ''] = process.argv.slice(2)
await supervise({
  program,
  ranks: [0, 1].map((rank) => ({ rank, spec: { act: rank === 0 ? 'wait' : 'deaf', pids, ranks: 2 } })),
  graceSeconds: 60,
  signal: new AbortController().signal,
})
