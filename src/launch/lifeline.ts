import { Worker } from 'node:worker_threads'

/** The file descriptor in a rank of a pipe whose other end only its supervisor holds. Nothing is ever written to it. */
const LIFELINE_FD = 3

/** The stdio of a rank process, with the lifeline at its place. */
export const RANK_STDIO = ['ignore', 'pipe', 'pipe', 'pipe'] as const

// Text, because a thread that loads a TypeScript file starts as slowly as the rank itself.
const WATCH = `
const { Socket } = require('node:net')
const end = () => process.kill(process.pid, 'SIGKILL')
new Socket({ fd: ${LIFELINE_FD} }).on('error', end).on('close', end).resume()
`

/**
 * From here on this process ends when its supervisor ends, however that happens: the kernel then closes the other end of
 * the pipe, and it stays closed, so a process that calls this later ends too. A thread of its own watches the pipe, because
 * native code may keep the main thread busy for minutes.
 */
export function endWithSupervisor(): void {
  new Worker(WATCH, { eval: true, execArgv: [] }).unref()
}
