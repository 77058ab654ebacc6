// How fast feature files become a published store, by the way in which their tensors are kept. Rounds of all modes alternate.
// Usage: npm run bench:ingest [-- --dir DIR] [--rounds N] [--sets N] [--record [--name NAME]] [MODE…]
// --dir: on the file system to measure. --sets: only the first N sets of files. MODE: copy, hardlink, reference, reflink.
import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { embedPython } from '../../src/bridge/python.ts'
import { RunConfig } from '../../src/config/schema.ts'
import { systemClock } from '../../src/core/clock.ts'
import { produceInto } from '../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { checkout, venvPython } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { directorySize } from './directory-size.ts'
import { scratchFolder } from './scratch-folder.ts'
import { median } from './statistics.ts'

const SETS = [
  { name: '58.7 MB', count: 32, tokens: 2048, hidden: 3584 },
  { name: '0.5 MB', count: 200, tokens: 64, hidden: 1024 },
  { name: '9 KB', count: 1000, tokens: 16, hidden: 64 },
] as const
type FileSet = (typeof SETS)[number]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...recordOptions,
    dir: { type: 'string', default: tmpdir() },
    rounds: { type: 'string', default: '5' },
    sets: { type: 'string', default: String(SETS.length) },
  },
})
const modes = positionals.length > 0 ? positionals : ['copy', 'hardlink', 'reference']
const rounds = Number(values.rounds)
const python = await embedPython()
await using scratch = await scratchFolder(values.dir)
const { dir } = scratch

interface Figure {
  readonly seconds: number
  /** Of the tensors that were ingested. */
  readonly bytes: number
  /** What the store's folder takes up beyond the feature files. */
  readonly added: number
}

async function ingestOnce(set: string, mode: string, round: number): Promise<Figure> {
  const out = path.join(dir, `${set}-${mode}-${round}`)
  const config = RunConfig.parse({
    version: 1,
    run: { id: 'bench', dir: out },
    target: { model: path.join(dir, set, 'target') },
    features: { source: 'files', files: path.join(dir, set, 'features'), link: mode },
    store: { kind: 'shared-dir', root: path.join(out, 'store') },
    manifest: path.join(out, 'manifest'),
  })
  // Writes that an earlier round left pending would slow this one down.
  execFileSync('sync')
  await using store = await sharedDirFeatureStore({ python, root: config.store.root, retain: true })
  const begun = performance.now()
  const context = { clock: systemClock, signal: new AbortController().signal, events: { emit: () => undefined } }
  const { refs } = await produceInto({ config, python, store, context })
  const seconds = (performance.now() - begun) / 1000
  let bytes = 0
  for (const ref of refs) bytes += ref.bytes
  const added = await directorySize(out, path.join(dir, set, 'features'))
  await rm(out, { recursive: true })
  return { seconds, bytes, added }
}

async function measure({ name, count, tokens, hidden }: FileSet): Promise<readonly (readonly string[])[]> {
  const set = `n${tokens}`
  const maker = path.join(checkout, 'scripts/bench/make_ingest_files.py')
  execFileSync(venvPython(), [maker, path.join(dir, set), ...[count, tokens, hidden].map(String)])
  const figures = new Map<string, Figure[]>(modes.map((mode) => [mode, []]))
  // The first ingest of a set fills the page cache and is not counted.
  await ingestOnce(set, modes[0] ?? 'copy', -1)
  for (let round = 0; round < rounds; round += 1) {
    for (const mode of modes) figures.get(mode)?.push(await ingestOnce(set, mode, round))
  }
  await rm(path.join(dir, set), { recursive: true })
  const secondsOf = (mode: string): number => median(figures.get(mode)?.map(({ seconds }) => seconds) ?? [])
  return modes.map((mode) => {
    const seconds = secondsOf(mode)
    const { bytes = 0, added = 0 } = figures.get(mode)?.[0] ?? {}
    return [
      `${count} x ${name}, ${mode}`,
      `${Math.round(bytes / 1e6 / seconds)}`,
      `${Math.round(count / seconds)}`,
      (secondsOf(modes[0] ?? '') / seconds).toFixed(2),
      `${((100 * added) / bytes).toFixed(2)} %`,
    ]
  })
}

const recorder = new Recorder({ title: 'Ingest', ...values, name: values.name ?? 'ingest' })
const columns = ['files, mode', 'MB/s', 'samples/s', `times ${modes[0]}`, 'bytes added']
const table = recorder.table(`Feature files to a published store; medians of ${rounds} rounds; fsync on`, columns)
for (const set of SETS.slice(0, Number(values.sets))) for (const row of await measure(set)) table.row(...row)
recorder.note('MB/s is of tensors. Bytes added are those of the store beyond the feature files.')
await recorder.write()
