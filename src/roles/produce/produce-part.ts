import { z } from 'zod'
import { RunConfig } from '../../config/schema.ts'
import { systemClock } from '../../core/clock.ts'
import { hasCode } from '../../core/errors.ts'
import { Part } from '../../core/part.ts'
import type { RankLink } from '../../launch/rank-link.ts'
import type { EventBody } from '../../report/events/events.ts'
import { produce } from './produce.ts'

/** The input of the process that makes one part. */
const PartSpec = z.strictObject({ config: RunConfig, part: Part })

/** `stopped`: it was asked to, and the same command goes on. */
export const PartOutcome = z.strictObject({ stopped: z.boolean() })
export type PartOutcome = z.output<typeof PartOutcome>

/** One part, from an empty process to its end. */
export async function producePart(link: RankLink): Promise<PartOutcome> {
  const { config, part } = PartSpec.parse(link.spec)
  const emit = (body: EventBody) => {
    if (body.event === 'produce.started') link.phase('opening the target')
    if (body.event === 'produce.progress') link.phase('producing')
    link.event(body)
  }
  link.phase('starting Python')
  try {
    await produce(config, { clock: systemClock, signal: link.signal, events: { emit } }, part)
    return { stopped: false }
  } catch (error) {
    if (hasCode(error, 'INTERRUPTED')) return { stopped: true }
    throw error
  }
}
