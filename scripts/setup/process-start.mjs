import { readFileSync } from 'node:fs'

const STATE = 0
const START = 19

/**
 * When a process started. Process ids are used again, so only id and start together name a process.
 * @param {number} pid
 * @returns {string | null} clock ticks since boot; null when it has ended or is a zombie, or without /proc
 */
export function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The program's name is in brackets and may contain anything, so fields are counted after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[STATE] === 'Z' ? null : (fields[START] ?? null)
  } catch {
    return null
  }
}
