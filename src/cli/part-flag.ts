import type { Command } from 'commander'
import type { Part } from '../core/part.ts'

export interface PartFlag {
  readonly part?: string
}

export const withPartFlag = (command: Command): Command =>
  command.option('--part <I/N>', 'produce only part I of N, counted from 0; give every producer the same N')

/** The part that `--part` names; ends the command when it names none. */
export async function partOf({ part: text }: PartFlag, command: Command): Promise<Part | null> {
  if (text === undefined) return null
  const { parsePart } = await import('../core/part.ts')
  const part = parsePart(text)
  if (part !== null) return part
  const expected = 'I/N with I from 0 to N - 1 (0/4 to 3/4 are all parts of four)'
  return command.error(`error: option '--part' must be ${expected}, not '${text}'`)
}
