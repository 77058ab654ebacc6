import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { stringify } from 'yaml'
import type { EventBody } from '../../src/report/events/events.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { checkout, venvPython } from '../results/checkout.ts'
import { recordOptions } from '../results/recorder.ts'

/** Sizes of the draft: that of Qwen2.5-7B, or one that a CPU trains in seconds. */
export const SHAPES = ['qwen', 'small'] as const
export type Shape = (typeof SHAPES)[number]
const DRAFT_VOCABULARY: Readonly<Record<Shape, number>> = { qwen: 16000, small: 1000 }

/** Options of the scripts that train one case, for `parseArgs`. */
export const caseOptions = {
  ...recordOptions,
  shape: { type: 'string', default: 'small' },
  dir: { type: 'string', default: tmpdir() },
  ranks: { type: 'string', default: '1' },
} as const

/** What is trained: `samples` feature files of `length` tokens, of which the share `live` is trained. */
export interface TrainCase {
  readonly dir: string
  readonly shape: Shape
  readonly samples: number
  readonly length: number
  readonly live: number
  readonly ranks: number
  /** The `train` section of the config. */
  readonly train: object
}

/** Makes a target and feature files below `dir` and ingests them. Gives the config file of the run, whose folder is `run`. */
export async function prepareTrainCase({
  dir,
  shape,
  samples,
  length,
  live,
  ranks,
  train,
}: TrainCase): Promise<string> {
  const name = `${length}-${live}`
  const maker = path.join(checkout, 'scripts/bench/make_train_case.py')
  execFileSync(venvPython(), [maker, dir, ...[samples, length, live].map(String), shape], { stdio: 'inherit' })
  const config = {
    version: 1,
    run: { id: `bench-${name}`.replace('.', '_'), dir: path.join(dir, 'run') },
    target: { model: path.join(dir, 'target') },
    data: { maxLength: length },
    features: { source: 'files', files: path.join(featuresOf(dir, { length, live }), '*.ckpt'), link: 'copy' },
    store: { kind: 'shared-dir', root: path.join(dir, `store-${name}`), durability: 'fast' },
    manifest: path.join(dir, `store-${name}`, 'manifest'),
    draft: { vocabSize: DRAFT_VOCABULARY[shape] },
    train,
    launch: { ranksPerNode: ranks },
  }
  const file = path.join(dir, `${name}.yaml`)
  await writeFile(file, stringify(config))
  draftbridge('ingest', '-c', file, '--quiet')
  return file
}

/** Where `make_train_case.py` puts the feature files of a case. */
export const featuresOf = (dir: string, { length, live }: Pick<TrainCase, 'length' | 'live'>): string =>
  path.join(dir, `features-${length}-${live}`)

/** How to start `draftbridge` from this checkout. */
export const draftbridgeCommand = ['--import', 'tsx', path.join(checkout, 'src/cli/main.ts')]

/** Runs one command of `draftbridge` to its end; what it writes on stderr is shown. Gives the seconds it took. */
export function draftbridge(...args: string[]): number {
  const begun = performance.now()
  execFileSync(process.execPath, [...draftbridgeCommand, ...args], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return (performance.now() - begun) / 1000
}

type Stamped<Name extends EventBody['event']> = Extract<EventBody, { event: Name }> & { readonly ts: number }

/** All events of one name in `events.ndjson` of a run, with the time at which each was written (ms since the epoch). */
export async function eventsNamed<Name extends EventBody['event']>(run: string, name: Name): Promise<Stamped<Name>[]> {
  const { events } = await readEvents(run)
  return events.flatMap(({ ts, body }) =>
    body.event === name ? [{ ...(body as Extract<EventBody, { event: Name }>), ts }] : [],
  )
}
