import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOf } from './process-start.mjs'

/**
 * Waits until no other set-up works in this checkout, then holds the lock. A lock whose owner is dead is taken over.
 * @param {string} file
 * @param {{ pollMs: number, onWait: (pid: number) => void }} options
 * @returns {Promise<{ release: () => void }>}
 */
export async function holdLock(file, { pollMs, onWait }) {
  mkdirSync(path.dirname(file), { recursive: true })
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, `${process.pid} ${startOf(process.pid) ?? ''}`)
  let told = false
  try {
    while (!taken(mine, file)) {
      const owner = ownerOf(file)
      if (owner !== null && !isAlive(owner)) stealFrom(owner, file, mine)
      else {
        if (owner !== null && !told) onWait(owner.pid)
        told = true
        await sleep(pollMs)
      }
    }
  } finally {
    rmSync(mine, { force: true })
  }
  return { release: () => rmSync(file, { force: true }) }
}

/**
 * A link appears with its content and fails when the name is there, so there is no moment of an empty lock.
 * @param {string} mine
 * @param {string} file
 */
function taken(mine, file) {
  try {
    linkSync(mine, file)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** @typedef {{ text: string, pid: number, start: string }} Owner */

/**
 * @param {string} file
 * @returns {Owner | null}
 */
function ownerOf(file) {
  try {
    const text = readFileSync(file, 'utf8')
    const [pid = '', start = ''] = text.split(' ')
    return { text, pid: Number(pid), start }
  } catch {
    return null
  }
}

/**
 * @param {Owner} owner
 */
function isAlive({ pid, start }) {
  // Without /proc nothing is known of starts, and the id alone has to do.
  if (start !== '') return startOf(pid) === start
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * Of several that see the same dead owner, the rename lets one win. What it moved is looked at again: if another had
 * won before, that is a live lock, and it goes back.
 * @param {Owner} dead
 * @param {string} file
 * @param {string} mine
 */
function stealFrom(dead, file, mine) {
  const aside = `${mine}.stale`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  if (readFileSync(aside, 'utf8') !== dead.text) taken(aside, file)
  rmSync(aside, { force: true })
}
