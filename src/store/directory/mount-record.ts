import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { errnoName, hasCode, isErrno } from '../../core/errors.ts'
import type { Notes } from '../coordination/notes.ts'
import { probeMount } from './mount-probe.ts'
import { localCalls, type NameCalls } from './name-calls.ts'

/** Grows when the probe tries something new: what an older one found does not count then. */
const PROBE = 1

/**
 * The probe of one store's file system, once for each host and mount: its success is a note `mounts/<which>`. A mount is
 * known by its device number, which stays as long as the host runs.
 */
export class MountRecord {
  readonly #root: string
  readonly #notes: Notes
  readonly #calls: NameCalls

  constructor(root: string, notes: Notes, calls: NameCalls) {
    this.#root = root
    this.#notes = notes
    this.#calls = calls
  }

  /**
   * `dir`: an empty folder of one's own in the store. False when nothing is recorded of this mount.
   * @throws STORE_UNAVAILABLE naming what the file system lacks.
   */
  async expectFit(dir: string): Promise<boolean> {
    if (await this.#notes.has(await this.#name())) return true
    try {
      // Processes of one kernel see a local file system alike.
      await probeMount(dir, this.#calls !== localCalls)
    } catch (error) {
      // A full disk says nothing about the file system: the next member tries again.
      if (!isErrno(error, 'ENOSPC', 'EDQUOT') && !hasCode(error, 'STORE_FULL')) throw error
    }
    return false
  }

  /** Members that come later need not try again. */
  async add(): Promise<void> {
    await this.#notes.create(await this.#name(), JSON.stringify({ host: hostname(), probe: PROBE }))
  }

  async #name(): Promise<string> {
    const [{ dev }, boot] = await Promise.all([stat(this.#root, { bigint: true }), bootId()])
    return `mounts/${createHash('sha256').update(`${PROBE} ${boot} ${dev}`).digest('hex').slice(0, 16)}`
  }
}

const bootId = (): Promise<string> =>
  readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch((error: unknown) => {
    if (errnoName(error) === null) throw error
    return hostname()
  })
