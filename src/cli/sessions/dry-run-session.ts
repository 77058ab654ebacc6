import { loadConfig } from '../../config/load.ts'
import { systemClock } from '../../core/clock.ts'
import { asInterruption } from '../../core/interruption.ts'
import type { EventBody } from '../../report/events/events.ts'
import { eventLine } from '../../report/events/events-file.ts'
import { dryRunText } from '../../report/text/dry-run-text.ts'
import { Progress } from '../../report/text/progress.ts'
import { dryRun } from '../../roles/train/dry-run.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { configFlag } from './role-session.ts'
import type { Stop } from './stop.ts'

/** A dry run from config to summary. Events go to the screen only: nothing is written to the run folder. */
export async function runDryRun(flags: RunFlags, stop: Stop): Promise<void> {
  const config = await loadConfig({ file: flags.config, env: process.env, sets: flags.set, consumes: () => true })
  const progress = new Progress({ screen: process.stderr, env: process.env, quiet: flags.quiet === true })
  const emit = (body: EventBody): void => {
    const event = { v: 1 as const, ts: systemClock.now(), runId: config.run.id, body }
    progress.show(event)
    if (flags.jsonLines === true) process.stdout.write(`${eventLine(event)}\n`)
  }
  const context = { clock: systemClock, signal: stop.signal, events: { emit } }
  const result = await dryRun(config, context).catch((error: unknown) => {
    progress.clear()
    throw asInterruption(error, stop.signal)
  })
  progress.clear()
  const next = `${SELF} train ${configFlag(flags)}`
  if (flags.quiet !== true) process.stderr.write(`\n${dryRunText(result, next)}\n`)
  if (flags.json === true) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
}
