import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startOf } from './process-start.mjs'

/**
 * Waits until no other set-up runs in this checkout, then holds the lock. The lock of a dead owner is taken over.
 * @param {string} file
 * @param {{ pollMs: number, onWait: (pid: number) => void }} options
 * @returns {Promise<{ release: () => void }>}
 */
export async function holdLock(file, { pollMs, onWait }) {
  mkdirSync(path.dirname(file), { recursive: true })
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, `${process.pid} ${startOf(process.pid) ?? ''}`)
  let announced = false
  try {
    while (!tryTake(mine, file)) {
      const owner = ownerOf(file)
      if (owner !== null && !isAlive(owner)) takeOver(owner, file, mine)
      else {
        if (owner !== null && !announced) onWait(owner.pid)
        announced = true
        await sleep(pollMs)
      }
    }
  } finally {
    rmSync(mine, { force: true })
  }
  return { release: () => rmSync(file, { force: true }) }
}

/**
 * Takes the lock if it is free. A link appears with its content and fails when the name exists, so a lock is never empty.
 * @param {string} mine
 * @param {string} file
 */
function tryTake(mine, file) {
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
  // Without /proc start times are unknown, so only the id is compared.
  if (start !== '') return startOf(pid) === start
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/**
 * Removes the lock of a dead owner. When several processes try, the rename succeeds for one of them. If it moved the lock
 * of a process that was faster, that lock is alive and is put back.
 * @param {Owner} dead
 * @param {string} file
 * @param {string} mine
 */
function takeOver(dead, file, mine) {
  const aside = `${mine}.stale`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  if (readFileSync(aside, 'utf8') !== dead.text) tryTake(aside, file)
  rmSync(aside, { force: true })
}
