/**
 * Random damage to stored objects and manifests: every one must be detected, or change nothing that a reader gets.
 *
 *     node --import tsx scripts/faults/corruptions.ts [--count 10000] [--seed 1] [--auth none|mac|seal] [--record]
 *
 * Exit status 1 when wrong bytes were served or an error had no code.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { embedPython, type Python } from '../../src/bridge/python.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { markdownOf, type Table } from '../results/table.ts'
import { CorruptedStore, MODES, type Mode, type Outcome, readings } from './corrupted-store.ts'
import { manifestKinds, objectKinds } from './corruption-kinds.ts'
import { Random } from './random.ts'

const OUTCOMES = ['detected', 'not asked for', 'harmless', 'served wrong', 'error without a code'] as const
type Tally = Record<Outcome, number>
export type Tallies = Readonly<Record<string, Tally>>

const LATER = 'an object under a later generation'
const kinds = [...Object.keys(objectKinds), ...Object.keys(manifestKinds)]

/** Damages a store `count` times. The same seed, count and mode give the same damage to the same files. */
export async function corruptions(
  python: Python,
  given: { readonly dir: string; readonly mode: Mode; readonly count: number; readonly seed: number },
): Promise<Tallies> {
  const random = new Random(given.seed)
  const tallies = Object.fromEntries(kinds.map((kind) => [kind, emptyTally()]))
  await using store = await CorruptedStore.make(python, given.dir, given.mode, 24)
  for (let round = 0; round < given.count; round++) {
    const kind = kinds[round % kinds.length] ?? ''
    const tally = tallies[kind]
    if (tally !== undefined) tally[await damaged(store, kind, random)] += 1
  }
  return tallies
}

async function damaged(store: CorruptedStore, kind: string, random: Random): Promise<Outcome> {
  const ofManifest = manifestKinds[kind]
  if (ofManifest !== undefined) return store.readManifest(ofManifest(random, store.manifest))
  const sample = random.of(store.samples)
  const other = random.of(store.samples.filter((each) => each !== sample))
  const damage = objectKinds[kind]?.(random, sample, other) ?? new Map()
  const generation = kind === LATER ? 1 : 0
  const outcome = await store.read(sample, damage, random.below(readings.length), generation)
  if (outcome !== 'harmless') return outcome
  const whole = await store.read(sample, damage, 0, generation)
  return whole === 'detected' ? 'not asked for' : whole
}

const emptyTally = (): Tally => ({
  detected: 0,
  'not asked for': 0,
  harmless: 0,
  'served wrong': 0,
  'error without a code': 0,
})

export function tallyTable(tallies: Tallies, title: string): Table {
  const rows = Object.entries(tallies).map(([kind, tally]) => {
    const count = OUTCOMES.reduce((sum, outcome) => sum + tally[outcome], 0)
    return [kind, ...[count, ...OUTCOMES.map((outcome) => tally[outcome])].map(String)]
  })
  return { title, columns: ['damage', 'count', ...OUTCOMES], rows }
}

/** The tallies as text, for a test that fails. */
export const tallyText = (tallies: Tallies, title: string): string => markdownOf(tallyTable(tallies, title))

/** How often a reader got other bytes than were put, or an error without a code. */
export const failures = (tallies: Tallies): number =>
  Object.values(tallies).reduce((sum, tally) => sum + tally['served wrong'] + tally['error without a code'], 0)

async function main(): Promise<void> {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  const options = { ...recordOptions, count: text('10000'), seed: text('1'), auth: text('none') }
  const { values } = parseArgs({ options })
  const mode = z.enum(MODES).parse(values.auth)
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-corruptions-'))
  const given = { dir, mode, count: Number(values.count), seed: Number(values.seed) }
  const tallies = await corruptions(await embedPython(), given)
  await rm(dir, { recursive: true })
  const recorder = new Recorder({ title: 'Corruptions', ...values, name: values.name ?? `corruptions-${mode}` })
  recorder.add(tallyTable(tallies, `auth ${mode}, seed ${given.seed}, ${given.count} corruptions`))
  await recorder.write()
  process.exitCode = failures(tallies) > 0 ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main()
