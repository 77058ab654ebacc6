import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOf } from './process-start.mjs'

/**
 * Notes that a program runs for us, under its process id and the time it started.
 * @param {string} folder
 * @param {number | undefined} pid
 * @returns {() => void} to be called when it has ended
 */
export function noteProgram(folder, pid) {
  const start = pid === undefined ? null : startOf(pid)
  if (start === null) return () => undefined
  mkdirSync(folder, { recursive: true })
  const note = path.join(folder, `${pid}-${start}`)
  writeFileSync(note, '')
  return () => rmSync(note, { force: true })
}

/**
 * Ends what a killed set-up left running: a pip that outlives it would go on writing into the `.venv` that the next
 * set-up makes. Only for the holder of the lock, and only programs that a set-up noted.
 * @param {string} folder
 * @param {(pid: number) => void} onEnd
 */
export async function endOrphans(folder, onEnd) {
  mkdirSync(folder, { recursive: true })
  for (const note of readdirSync(folder)) {
    const [pid = '', start = ''] = note.split('-')
    if (startOf(Number(pid)) === start) onEnd(Number(pid))
    while (startOf(Number(pid)) === start && killed(Number(pid))) await sleep(50)
    rmSync(path.join(folder, note), { force: true })
  }
}

/** @param {number} pid */
function killed(pid) {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}
