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
import { findTarget, newestCheckpoint, type Standing, standingOf } from './standing.ts'
import { tauNote } from './tau-note.ts'
import { type Asked, askedFor, USAGE } from './usage.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const checkout = path.resolve(here, '../..')
const CONFIG = path.join(here, 'draftbridge.yaml')

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}
const short = (file: string): string => path.relative(process.cwd(), file) || '.'

async function quickstart(fresh: boolean): Promise<void> {
  const started = Date.now()
  const env = { ...process.env, SMOLLM2_GGUF: await findTarget(checkout) }
  const config = await loadConfig({ file: CONFIG, env })
  if (fresh) await rm(config.run.dir, { recursive: true, force: true })
  const standing = await standingOf(config)
  if (standing.measured) {
    say('The quickstart is finished already. Begin again with: npm run quickstart -- --fresh\n')
  } else {
    greet(config, standing)
    await work(config, standing, env)
  }
  await conclude(config)
  if (!standing.measured) say(`\ndone in ${duration((Date.now() - started) / 1000)}`)
}

function greet(config: RunConfig, { begun, featuresReady, trained }: Standing): void {
  say(
    'SmolLM2-135M-Instruct, on this machine: features -> draft -> tau. It takes a few minutes; Ctrl-C saves and stops.',
  )
  say(`producer and consumer are two processes that share only ${short(config.store.root)}`)
  if (!begun) return
  const there = trained ? 'features and the trained draft are' : featuresReady ? 'all features are' : 'a part is'
  say(`an earlier start was interrupted: ${there} there, and this one goes on`)
}

async function work(config: RunConfig, standing: Standing, env: NodeJS.ProcessEnv): Promise<void> {
  const commands = new Commands({ checkout, env })
  let asked = 0
  const pass = (signal: NodeJS.Signals): void => {
    asked += 1
    if (asked === 1) say('\nstopping at a safe point; a second Ctrl-C stops at once')
    commands.stop(asked === 1 ? signal : 'SIGKILL')
  }
  process.on('SIGINT', pass)
  process.on('SIGTERM', pass)
  const role = (name: string): Promise<void> => commands.run(name, ['run', '--role', name, '-c', CONFIG])
  if (standing.producerFailed) await role('producer')
  const featuresReady = standing.featuresReady || standing.producerFailed
  const pools = [...(featuresReady ? [] : [role('producer')]), ...(standing.trained ? [] : [role('consumer')])]
  // Both have to end before the first failure is reported: nothing may go on running behind the prompt.
  const failed = (await Promise.allSettled(pools)).find((pool) => pool.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const draft = await newestCheckpoint(config.run.dir)
  if (draft === null) throw new Error(`training ended without a checkpoint in ${config.run.dir}`)
  await commands.run('eval', ['eval', '-c', CONFIG, '--draft', draft])
  process.off('SIGINT', pass)
  process.off('SIGTERM', pass)
}

async function conclude({ run, train }: RunConfig): Promise<void> {
  const report = await writeReport(run.dir)
  const { events } = await readEvents(run.dir)
  const draft = short((await newestCheckpoint(run.dir)) ?? run.dir)
  const next = `npm run cli -- eval -c ${short(path.join(run.dir, 'config.resolved.yaml'))} --draft ${draft} --set eval.limit=20`
  const note = tauNote(runHistory(events).evaluation, train.ttt.steps)
  const places = { report: short(report), draft, next, ...(note === undefined ? {} : { note }) }
  process.stdout.write(`\n${summaryText(events, places)}\n`)
}

async function main(asked: Asked): Promise<void> {
  if (asked.what === 'help') process.stdout.write(USAGE)
  else if (asked.what === 'unknown') {
    process.stderr.write(`quickstart: unknown argument '${asked.argument}'\n\n${USAGE}`)
    process.exitCode = 2
  } else await quickstart(asked.what === 'fresh')
}

try {
  await main(askedFor(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof CodedError || error instanceof CommandFailed)) throw error
  const stopped = error.exitCode === 130 || error.exitCode === 143
  say(stopped ? 'stopped and saved; `npm run quickstart` goes on from here' : `quickstart: ${error.message}`)
  process.exitCode = error.exitCode
}
