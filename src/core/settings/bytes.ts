import { z } from 'zod'
import { Count } from './count.ts'

export const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const

/** `2TiB` or a plain number of bytes. */
export const Bytes = z.union([
  Count,
  z
    .string()
    .regex(/^\d+(\.\d+)? ?(B|KiB|MiB|GiB|TiB)$/)
    .describe('bytes such as 2TiB (units B, KiB, MiB, GiB, TiB)')
    .transform((text) => {
      const [, amount = '0', unit = 'B'] = /^([\d.]+) ?([A-Za-z]+)$/.exec(text) ?? []
      return Math.floor(Number(amount) * UNITS[unit as keyof typeof UNITS])
    })
    .pipe(Count),
])
