import { readFile, readlink } from 'node:fs/promises'
import os from 'node:os'
import { z } from 'zod'
import { isErrno } from '../errors.ts'

/** Enough to find out from another process whether this one has ended. */
export const ProcessIdentity = z.looseObject({
  host: z.string(),
  pid: z.number().int(),
  /** In ticks since boot, because pids come again. Null where there is no /proc. */
  started: z.string().nullable(),
  /** Host names come twice: a container's pid means nothing outside its namespace, and no pid outlasts a boot. */
  bootId: z.string().nullable().default(null),
  pidNs: z.string().nullable().default(null),
})
export type ProcessIdentity = z.output<typeof ProcessIdentity>

export async function thisProcess(): Promise<ProcessIdentity> {
  const [started, bootId, pidNs] = await Promise.all([
    startOf(process.pid),
    textOrNull('/proc/sys/kernel/random/boot_id'),
    readlink('/proc/self/ns/pid').catch(() => null),
  ])
  return { host: os.hostname(), pid: process.pid, started, bootId, pidNs }
}

/** Null when it cannot be told from here: another machine, another container, or a system without /proc. */
export async function isRunning(other: ProcessIdentity): Promise<boolean | null> {
  const mine = await thisProcess()
  const here = other.host === mine.host && other.bootId === mine.bootId && other.pidNs === mine.pidNs
  if (!here || other.started === null || mine.started === null) return null
  return (await startOf(other.pid)) === other.started
}

// A killed process stays in the list until its parent looks: it does nothing any more, and counts as ended.
async function startOf(pid: number): Promise<string | null> {
  const text = await textOrNull(`/proc/${pid}/stat`)
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ')
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null)
}

async function textOrNull(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return null
    throw error
  }
}
