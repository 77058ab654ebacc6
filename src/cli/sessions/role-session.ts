import path from 'node:path'
import { loadConfig } from '../../config/load.ts'
import { writeResolvedConfig } from '../../config/resolved.ts'
import type { RunConfig } from '../../config/schema.ts'
import { systemClock } from '../../core/clock.ts'
import { CodedError } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { asInterruption } from '../../core/interruption.ts'
import type { RunEvent } from '../../report/events/events.ts'
import { EventsFile, eventLine, readEvents } from '../../report/events/events-file.ts'
import { writeReport } from '../../report/page/write-report.ts'
import { Progress } from '../../report/text/progress.ts'
import { type SummaryPlaces, summaryText } from '../../report/text/summary.ts'
import type { RoleContext } from '../../roles/context.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { shellWord } from '../texts/shell-word.ts'
import type { Stop } from './stop.ts'

export interface RoleDeed<T> {
  /** True where the role runs Python in this very process. */
  readonly embedsPython: boolean
  /** True where the role only looks at a run: the record of how the run was made stays as it is. */
  readonly onlyLooks?: boolean
  run(config: RunConfig, context: RoleContext): Promise<T>
  /** Where the summary should send the reader. `heard`: the names of the events of this start. */
  places(result: T, heard: ReadonlySet<string>): SummaryPlaces
}

/** One role from config to summary: events to the run's folder and to the screen, a report at the end, good or bad. */
export async function runRole<T>(flags: RunFlags, stop: Stop, deed: (config: RunConfig) => RoleDeed<T>): Promise<T> {
  const config = await loadConfig({ file: flags.config, env: process.env, sets: flags.set })
  const { embedsPython, onlyLooks = false, run, places } = deed(config)
  stop.embedsPython = embedsPython
  await makeFolder(config.run.dir, 'run.dir')
  // A run that is refused, because its settings are not those of the one that is there, must not rewrite its record.
  if (!onlyLooks) await writeResolvedConfig(config, { replace: false })
  const { dir, id: runId } = config.run
  const progress = new Progress({ screen: process.stderr, env: process.env, quiet: flags.quiet === true })
  const heard = new Set<string>()
  const note = ({ body }: RunEvent) => void heard.add(body.event)
  const listeners = [progress.hear, note, ...(flags.jsonLines === true ? [printLine] : [])]
  using events = new EventsFile({ dir, runId, clock: systemClock, listeners })
  const result = await run(config, { clock: systemClock, signal: stop.signal, events }).catch(
    async (thrown: unknown) => {
      progress.clear()
      const error = asInterruption(thrown, stop.signal)
      // Neither an event that cannot be written nor the report may hide why the run failed.
      await Promise.resolve()
        .then(() => events.emit({ event: 'failed', ...named(error), ...(onlyLooks ? { onlyLooked: true } : {}) }))
        .then(() => writeReport(dir))
        .catch(() => undefined)
      throw error
    },
  )
  progress.clear()
  if (!onlyLooks) await writeResolvedConfig(config, { replace: true })
  const report = await writeReport(dir)
  await conclude(flags, dir, { report, ...places(result, heard) })
  if (flags.json === true) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  return result
}

/** A bug has no code of its own; the run's events must still say why they end. */
function named(error: unknown): { code: string; message: string } {
  if (error instanceof CodedError) return { code: error.code, message: error.message }
  return { code: 'BUG', message: error instanceof Error ? error.message : String(error) }
}

const printLine = (event: Parameters<typeof eventLine>[0]): void => {
  process.stdout.write(`${eventLine(event)}\n`)
}

async function conclude(flags: RunFlags, dir: string, places: SummaryPlaces): Promise<void> {
  if (flags.quiet === true) return
  const { events } = await readEvents(dir)
  process.stderr.write(`\n${summaryText(events, places)}\n`)
}

/** After training: evaluate it. A run that was finished before has its checkpoint named again, and no rank begins. */
export function trainedPlaces(flags: RunFlags, checkpoint: string, heard: ReadonlySet<string>): SummaryPlaces {
  // On another node than that of rank 0 neither is heard.
  const before = heard.has('train.checkpoint') && !heard.has('train.started')
  return {
    ...(before ? { note: 'this run was finished already: nothing was trained now' } : {}),
    next: `${SELF} eval ${configFlag(flags)} --draft ${shellWord(checkpoint)}`,
  }
}

/** `-c FILE` for the next command, as short as it can be typed from here, and what `--set` changed of the file. */
export function configFlag({ config, set }: Pick<RunFlags, 'config' | 'set'>): string {
  const file = path.relative(process.cwd(), path.resolve(config)) || config
  return [`-c ${shellWord(file)}`, ...set.map((one) => `--set ${shellWord(one)}`)].join(' ')
}
