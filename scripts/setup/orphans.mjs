import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOf } from './process-start.mjs'

/**
 * Records that set-up started a program: a file named after its process id and start time.
 * @param {string} folder
 * @param {number | undefined} pid
 * @returns {() => void} removes the record; call it when the program has ended
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
 * Ends programs that a killed set-up left running: such a pip would go on writing into the `.venv` of the next set-up.
 * Only the holder of the lock may call it. It ends only programs that a set-up recorded.
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
