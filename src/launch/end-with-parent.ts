import { Worker } from 'node:worker_threads'

const LOOK_MS = 500

// Text, because a thread that loads a TypeScript file starts slowly.
const WATCH = `
const { workerData: parent } = require('node:worker_threads')
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL') }, ${LOOK_MS})
`

/**
 * From here on this process ends when the process that started it ends, however that happens: the kernel then gives it
 * another parent. For launchers that give their processes no pipe to watch. A thread of its own looks, because native code
 * may keep the main thread busy for minutes.
 */
export function endWithParent(): void {
  new Worker(WATCH, { eval: true, execArgv: [], workerData: process.ppid }).unref()
}
