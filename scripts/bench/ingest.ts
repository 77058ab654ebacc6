// How fast feature files become a published store, by the way their tensors are kept. Rounds are interleaved.
// Usage: npm run bench:ingest [-- DIR [MODE…]]   DIR: on the file system to measure (default: the temp folder)
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { embedPython } from '../../src/bridge/python.ts'
import { RunConfig } from '../../src/config/schema.ts'
import { systemClock } from '../../src/core/clock.ts'
import { produceInto } from '../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { directorySize } from './directory-size.ts'

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5)
const SETS = [
  { name: '58.7 MB', count: 32, tokens: 2048, hidden: 3584 },
  { name: '0.5 MB', count: 200, tokens: 64, hidden: 1024 },
  { name: '9 KB', count: 1000, tokens: 16, hidden: 64 },
] as const
const [at = tmpdir(), ...named] = process.argv.slice(2)
const modes = named.length > 0 ? named : ['copy', 'hardlink', 'reference']

const python = await embedPython()
await mkdir(at, { recursive: true })
const dir = await mkdtemp(path.join(at, 'draftbridge-ingest-'))

interface Figure {
  readonly seconds: number
  /** Of the tensors taken in. */
  readonly bytes: number
  /** What the store's folder takes up that the feature files do not. */
  readonly added: number
}

async function ingestOnce(set: string, mode: string, round: number): Promise<Figure> {
  const out = path.join(dir, `${set}-${mode}-${round}`)
  const config = RunConfig.parse({
    version: 1,
    run: { id: 'bench', dir: out },
    target: { model: path.join(dir, set, 'target') },
    features: { source: 'files', files: path.join(dir, set, 'features'), ...(mode === 'plain' ? {} : { link: mode }) },
    store: { kind: 'shared-dir', root: path.join(out, 'store') },
    manifest: path.join(out, 'manifest'),
  })
  // Pending writes of the round before would be paid by this one.
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

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

async function measure({ name, count, tokens, hidden }: (typeof SETS)[number]): Promise<void> {
  const set = `n${tokens}`
  const script = path.join(import.meta.dirname, 'make_ingest_files.py')
  const venv = process.env['DRAFTBRIDGE_VENV'] ?? '.venv'
  execFileSync(path.join(venv, 'bin/python'), [script, path.join(dir, set), ...[count, tokens, hidden].map(String)])
  const figures = new Map<string, Figure[]>(modes.map((mode) => [mode, []]))
  await ingestOnce(set, modes[0] ?? 'copy', -1)
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const mode of modes) figures.get(mode)?.push(await ingestOnce(set, mode, round))
  }
  const slowest = median(figures.get(modes[0] ?? '')?.map(({ seconds }) => seconds) ?? [])
  for (const [mode, found] of figures) {
    const seconds = median(found.map((figure) => figure.seconds))
    const { bytes = 0, added = 0 } = found[0] ?? {}
    const row = [
      `${count} x ${name}`.padEnd(16),
      mode.padEnd(10),
      `${Math.round(bytes / 1e6 / seconds)} MB/s`.padStart(11),
      `${Math.round(count / seconds)} samples/s`.padStart(15),
      `${(slowest / seconds).toFixed(2)}x`.padStart(8),
      `${((100 * added) / bytes).toFixed(2)} % added`.padStart(15),
    ]
    process.stdout.write(`${row.join('')}\n`)
  }
  await rm(path.join(dir, set), { recursive: true })
}

try {
  process.stdout.write(`${ROUNDS} rounds, medians; fsync on; MB/s of tensors\n`)
  for (const set of SETS) await measure(set)
} finally {
  await rm(dir, { recursive: true, force: true })
}
