import path from 'node:path'
import { loadConfig } from '../../config/load.ts'
import { writeResolvedConfig } from '../../config/resolved.ts'
import type { RunConfig } from '../../config/schema.ts'
import { systemClock } from '../../core/clock.ts'
import { CodedError } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { asInterruption } from '../../core/interruption.ts'
import type { RunEvent } from '../../report/events/events.ts'
import { EVENTS_NAME, EventsFile, eventLine, eventsNameOf, readEvents } from '../../report/events/events-file.ts'
import { writeReport } from '../../report/page/write-report.ts'
import { Progress } from '../../report/text/progress.ts'
import { type SummaryHints, summaryText } from '../../report/text/summary.ts'
import type { RoleContext } from '../../roles/context.ts'
import type { PoolPlace } from '../../roles/pools.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { shellWord } from '../texts/shell-word.ts'
import type { Stop } from './stop.ts'

/** What one command runs. */
export interface RoleTask<T> {
  /** True when the role only reads the run: it then leaves config.resolved.yaml as it is. */
  readonly readOnly?: boolean
  /** What this process is in the job. Not there for a command that is no role. */
  readonly place?: (config: RunConfig) => PoolPlace
  /** False when the command makes and reads no manifest: its report shows what an earlier command found in one. */
  readonly hasManifest?: boolean
  run(config: RunConfig, context: RoleContext): Promise<T>
  /** The last lines of the summary: paths and the next command. `eventNames`: events that this process emitted. */
  hints(result: T, eventNames: ReadonlySet<string>, config: RunConfig): SummaryHints
}

/** Runs one role from config to summary: events go to the run folder and the screen. Writes the report also on failure. */
export async function runRole<T>(flags: RunFlags, stop: Stop, task: RoleTask<T>): Promise<T> {
  const { readOnly = false, run, hints } = task
  const consumes = (config: RunConfig) => task.place?.(config).role === 'consumer'
  const config = await loadConfig({ file: flags.config, env: process.env, sets: flags.set, consumes })
  const place = task.place?.(config) ?? null
  // In colocated training each rank has its samples in memory, and the config's manifest is not used.
  const hasManifest = place?.role !== 'colocated' && (task.hasManifest ?? true)
  const isFirst = place === null || place.node === 0
  await makeFolder(config.run.dir, 'run.dir')
  // run.dir may hold a run with other settings. This start then fails, and must not overwrite that run's config.
  if (!readOnly && isFirst) await writeResolvedConfig(config, { replace: false })
  const { dir, id: runId } = config.run
  const progress = new Progress({ screen: process.stderr, env: process.env, quiet: flags.quiet === true })
  const eventNames = new Set<string>()
  const collectName = ({ body }: RunEvent) => void eventNames.add(body.event)
  const listeners = [progress.show, collectName, ...(flags.jsonLines === true ? [printLine] : [])]
  const name = eventsName(place)
  using events = new EventsFile({ dir, name, runId, clock: systemClock, listeners })
  const result = await run(config, { clock: systemClock, signal: stop.signal, events }).catch(
    async (thrown: unknown) => {
      progress.clear()
      const error = storageError(asInterruption(thrown, stop.signal), config.run.dir, 'a file or folder of this run')
      // A failed write of the event or the report must not hide why the run failed.
      await Promise.resolve()
        .then(() =>
          events.emit({ event: 'failed', ...codeAndMessage(error), ...(readOnly ? { onlyLooked: true } : {}) }),
        )
        // Samples are read only where the work is done: it takes seconds, and a user may want to stop.
        .then(async () => {
          if (isFirst) await writeReport(dir, await healthOf(config, false, hasManifest), name)
        })
        .catch(() => undefined)
      throw error
    },
  )
  progress.clear()
  if (!readOnly && isFirst) await writeResolvedConfig(config, { replace: true })
  if (isFirst) {
    const report = await writeReport(dir, await healthOf(config, flags.samples !== false, hasManifest), name)
    await printSummary(flags, { dir, name }, { report, ...hints(result, eventNames, config) })
  } else if (flags.quiet !== true) {
    // The figures are those of the first node.
    const { next: _, ...own } = hints(result, eventNames, config)
    process.stderr.write(`\n${summaryText([], own)}\n`)
  }
  if (flags.json === true) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  return result
}

/** A node of several has an events file of its own, but for the one with rank 0. */
function eventsName(place: PoolPlace | null): string {
  if (place === null || place.isWholeJob || place.role === 'colocated') return EVENTS_NAME
  return place.role === 'consumer' && place.node === 0 ? EVENTS_NAME : eventsNameOf(place.role, place.node)
}

/** What the data of the run are like, for its report. */
async function healthOf(config: RunConfig, samples: boolean, hasManifest: boolean) {
  const { runHealth } = await import('../../roles/health/run-health.ts')
  return runHealth(config, { samples, keptOnly: !hasManifest })
}

/** A bug has no error code, but the events file must still say why the run ended. */
function codeAndMessage(error: unknown): { code: string; message: string } {
  if (error instanceof CodedError) return { code: error.code, message: error.message }
  return { code: 'BUG', message: error instanceof Error ? error.message : String(error) }
}

const printLine = (event: Parameters<typeof eventLine>[0]): void => {
  process.stdout.write(`${eventLine(event)}\n`)
}

async function printSummary(
  flags: RunFlags,
  { dir, name }: { dir: string; name: string },
  hints: SummaryHints,
): Promise<void> {
  if (flags.quiet === true) return
  const { events } = await readEvents(dir, name)
  process.stderr.write(`\n${summaryText(events, hints)}\n`)
}

/** After training the next command is `eval`. When the run was finished before this start, a note says so. */
export function hintsAfterTraining(
  flags: RunFlags,
  checkpoint: string,
  eventNames: ReadonlySet<string>,
  config: RunConfig,
): SummaryHints {
  const prompts = config.eval.prompts === null ? ' --set eval.prompts=FILE' : ''
  // Nodes without rank 0 emit neither event.
  const finishedBefore = eventNames.has('train.checkpoint') && !eventNames.has('train.started')
  return {
    ...(finishedBefore ? { note: 'this run was finished already; this start trained nothing' } : {}),
    draft: checkpoint,
    next: `${SELF} eval ${configFlag(flags)} --draft ${shellWord(checkpoint)}${prompts}`,
  }
}

/** The flags without the overrides of one key, which the next command does not need. */
export const without = (flags: RunFlags, key: string): RunFlags => ({
  ...flags,
  set: flags.set.filter((one) => !one.startsWith(`${key}=`)),
})

/** `-c FILE`, relative to the current folder, and the `--set` flags: for the suggested next command. */
export function configFlag({ config, set }: Pick<RunFlags, 'config' | 'set'>): string {
  const file = path.relative(process.cwd(), path.resolve(config)) || config
  return [`-c ${shellWord(file)}`, ...set.map((one) => `--set ${shellWord(one)}`)].join(' ')
}
