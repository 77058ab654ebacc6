import { rm } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/load.ts'
import type { RunConfig } from '../../src/config/schema.ts'
import { CodedError } from '../../src/core/errors.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { runHistory } from '../../src/report/events/run-history.ts'
import { writeReport } from '../../src/report/page/write-report.ts'
import { summaryText } from '../../src/report/text/summary.ts'
import { duration } from '../../src/report/words.ts'
import { CommandFailed, Commands } from './commands.ts'
import { findTarget, newestCheckpoint, type QuickstartState, quickstartState } from './quickstart-state.ts'
import { tauNote } from './tau-note.ts'
import { parseQuickstartArgs, type QuickstartRequest, USAGE } from './usage.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const checkout = path.resolve(here, '../..')
const CONFIG = path.join(here, 'draftbridge.yaml')

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}
const relative = (file: string): string => path.relative(process.cwd(), file) || '.'

async function quickstart(fresh: boolean): Promise<void> {
  const started = Date.now()
  const env = { ...process.env, SMOLLM2_GGUF: await findTarget(checkout) }
  const config = await loadConfig({ file: CONFIG, env })
  if (fresh) await rm(config.run.dir, { recursive: true, force: true })
  const state = await quickstartState(config)
  if (state.measured) {
    say('The quickstart is already finished. To start again: npm run quickstart -- --fresh\n')
  } else {
    greet(config, state)
    await work(config, state, env)
  }
  await conclude(config)
  if (!state.measured) say(`\ndone in ${duration((Date.now() - started) / 1000)}`)
}

function greet(config: RunConfig, { begun, featuresReady, trained }: QuickstartState): void {
  say(
    'SmolLM2-135M-Instruct, on this machine: features -> draft -> tau. It takes a few minutes; Ctrl-C saves and stops.',
  )
  say(`producer and consumer are two processes that share only ${relative(config.store.root)}`)
  if (!begun) return
  const kept = trained ? 'features and the trained draft' : featuresReady ? 'all features' : 'a part of the features'
  say(`an earlier run was interrupted; it left ${kept}, and this run continues from there`)
}

async function work(config: RunConfig, state: QuickstartState, env: NodeJS.ProcessEnv): Promise<void> {
  const commands = new Commands({ checkout, env })
  let signals = 0
  const forward = (signal: NodeJS.Signals): void => {
    signals += 1
    if (signals === 1) say('\nstopping at a safe point; a second Ctrl-C stops at once')
    commands.stop(signals === 1 ? signal : 'SIGKILL')
  }
  process.on('SIGINT', forward)
  process.on('SIGTERM', forward)
  const role = (name: string): Promise<void> => commands.run(name, ['run', '--role', name, '-c', CONFIG])
  if (state.producerFailed) await role('producer')
  const featuresReady = state.featuresReady || state.producerFailed
  const pools = [...(featuresReady ? [] : [role('producer')]), ...(state.trained ? [] : [role('consumer')])]
  // Both must end before the first failure is reported, so that nothing runs on after the shell's prompt returns.
  const failed = (await Promise.allSettled(pools)).find((pool) => pool.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const draft = await newestCheckpoint(config.run.dir)
  if (draft === null) throw new Error(`training ended without a checkpoint in ${config.run.dir}`)
  await commands.run('eval', ['eval', '-c', CONFIG, '--draft', draft])
  process.off('SIGINT', forward)
  process.off('SIGTERM', forward)
}

async function conclude({ run, train }: RunConfig): Promise<void> {
  const report = await writeReport(run.dir)
  const { events } = await readEvents(run.dir)
  const draft = relative((await newestCheckpoint(run.dir)) ?? run.dir)
  const next = `npm run cli -- eval -c ${relative(path.join(run.dir, 'config.resolved.yaml'))} --draft ${draft} --set eval.limit=20`
  const note = tauNote(runHistory(events).evaluation, train.ttt.steps)
  const places = { report: relative(report), draft, next, ...(note === undefined ? {} : { note }) }
  process.stdout.write(`\n${summaryText(events, places)}\n`)
}

async function main(request: QuickstartRequest): Promise<void> {
  if (request.what === 'help') process.stdout.write(USAGE)
  else if (request.what === 'unknown') {
    process.stderr.write(`quickstart: unknown argument '${request.argument}'\n\n${USAGE}`)
    process.exitCode = 2
  } else await quickstart(request.what === 'fresh')
}

try {
  await main(parseQuickstartArgs(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof CodedError || error instanceof CommandFailed)) throw error
  const stopped = error.exitCode === 130 || error.exitCode === 143
  say(stopped ? 'stopped and saved; `npm run quickstart` continues from here' : `quickstart: ${error.message}`)
  process.exitCode = error.exitCode
}
