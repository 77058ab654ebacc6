import { readlinkSync } from 'node:fs'
import os from 'node:os'
import { z } from 'zod'

/** Digits of the heartbeat's counter. Fixed, so that a beat replaces a note in place. */
const WIDTH = 12

/** What a holder says about itself, for others to read. */
const HolderNote = z.looseObject({
  /** These two are for a person to read. Two hosts may have equal ones, so nothing is decided by them. */
  host: z.string(),
  pid: z.number().int(),
  /** The pid namespace it runs in, null without /proc: a container counts as a machine of its own. */
  pidNs: z.string().nullable().default(null),
  /** Null where it could not have one: see `Witness`. */
  witness: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .nullable()
    .default(null),
  /** The member of the store that its process is. */
  memberId: z
    .string()
    .regex(/^m[0-9a-f]{16}$/)
    .optional(),
  /** How often it has beaten. Only that it changes means anything. */
  beat: z.string().regex(/^\d+$/),
})
export type HolderNote = z.output<typeof HolderNote>

/** About this process, before its first beat. */
export function ownNote(about: Pick<HolderNote, 'witness' | 'memberId'>): HolderNote {
  return { ...about, host: os.hostname(), pid: process.pid, pidNs: ownPidNs(), beat: beatText(0) }
}

export const beatText = (count: number): string => String(count).padStart(WIDTH, '0')

/** Null for a text that is not such a note. */
export function parseNote(text: string): HolderNote | null {
  try {
    return HolderNote.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

export const describeNote = ({ pid, host }: HolderNote): string => `process ${pid} on ${host}`

export function ownPidNs(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
  }
}
