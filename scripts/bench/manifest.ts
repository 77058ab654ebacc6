// What a manifest of many refs costs: bytes on disk, seconds and memory. Each row runs in a process of its own.
// Usage: npm run bench:manifest [-- REFS]
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { specBytes } from '../../src/core/feature-spec.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { ManifestWriter, readRefManifest } from '../../src/refs/manifest.ts'
import { exampleContract } from '../../test/support/refs.ts'

const HIDDEN = 3584
const FLUSH_MS = 2000
const RANKS = 8

interface Row {
  readonly seconds: number
  /** Of all threads. On a machine that others use too, nearer to what the work costs. */
  readonly cpuSeconds: number
  readonly megabytes: number
}

/** Like those of `ingest`: four features, digests that do not repeat, the path of a file. */
function bigRef(index: number): SampleRef {
  const n = 256 + ((index * 7919) % 1793)
  const features = [
    { name: 'input_ids', shape: [n], dtype: 'int64' as const },
    { name: 'loss_mask', shape: [n], dtype: 'int64' as const },
    { name: 'hidden_state', shape: [n, HIDDEN], dtype: 'bfloat16' as const },
    { name: 'aux_hidden_state', shape: [n, 3 * HIDDEN], dtype: 'bfloat16' as const },
  ]
  const bytes = features.reduce((sum, spec) => sum + specBytes(spec), 0)
  const hash = (place: number) => (BigInt(index * 4 + place + 1) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn
  const digest = (place: number) => `xxh3_64:${hash(place).toString(16).padStart(16, '0')}`
  const folder = Math.floor(index / 2000) * 2000
  const from = `/mnt/features/rows_${folder}-${folder + 2000}/data_${index}.ckpt`
  return {
    schemaVersion: 1,
    runId: 'demo' as SampleRef['runId'],
    sampleId: `demo:${String(index).padStart(8, '0')}` as SampleRef['sampleId'],
    storeId: 'store-0123456789abcdef' as SampleRef['storeId'],
    generation: (index + 1) as SampleRef['generation'],
    strategy: 'eagle3',
    features,
    digests: Object.fromEntries(features.map(({ name }, place) => [name, digest(place)])),
    numTokens: n,
    bytes,
    provenance: { from, fileBytes: bytes + 2048, lossTokens: n - 90, truncated: false },
  }
}

/** `flushes`: by the clock, as a producer does it, or after so many refs. */
async function write(dir: string, refs: number, flushes: 'clock' | number): Promise<void> {
  const clock = { now: () => Date.now(), sleep: () => Promise.resolve() }
  const { runId, storeId } = bigRef(0)
  await using writer = await ManifestWriter.open({ dir, runId, storeId, contract: exampleContract, clock })
  let flushed = performance.now()
  for (let index = 0; index < refs; index += 1) {
    writer.append(bigRef(index))
    const due = flushes === 'clock' ? performance.now() - flushed > FLUSH_MS : (index + 1) % flushes === 0
    if (!due) continue
    await writer.flush()
    flushed = performance.now()
  }
  await writer.complete([[1, refs]])
}

async function readRank(dir: string): Promise<void> {
  const { refs } = await readRefManifest({ dir })
  let tokens = 0
  for (let index = 0; index < refs.length; index += 1) tokens += refs.tokens(index)
  for (let index = 3; index < refs.length; index += RANKS) tokens -= refs.at(index).numTokens
  refs.contentDigest()
  if (tokens <= 0) throw new Error('a rank with all the tokens')
}

const tasks: Record<string, (dir: string, refs: number) => Promise<void>> = {
  'refs made, and thrown away': async (_, refs) => {
    for (let index = 0; index < refs; index += 1) bigRef(index)
  },
  'written, flushed every 2 s': (dir, refs) => write(dir, refs, 'clock'),
  'written, flushed every 512 refs': (dir, refs) => write(dir, refs, 512),
  'one rank of 8: all sums, all tokens, its eighth parsed': (dir) => readRank(dir),
  'all sums, every line parsed and checked': async (dir) => {
    const { refs } = await readRefManifest({ dir })
    refs.checkAll()
  },
  'gone on with, one ref added': async (dir, refs) => {
    const { runId, storeId } = bigRef(0)
    const clock = { now: () => Date.now(), sleep: () => Promise.resolve() }
    const work = { dir, runId, storeId, contract: exampleContract, clock }
    await using writer = await ManifestWriter.open({ ...work, reopen: true })
    writer.append(bigRef(refs))
    await writer.complete([])
  },
}

async function measure(name: string, dir: string, refs: number): Promise<Row> {
  const before = process.memoryUsage.rss()
  const begun = performance.now()
  const cpu = process.cpuUsage()
  await tasks[name]?.(dir, refs)
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  // The kernel's own mark: a loop that never waits lets no timer sample it.
  const peak = process.resourceUsage().maxRSS * 1024
  return { seconds, cpuSeconds: (user + system) / 1e6, megabytes: (peak - before) / 1e6 }
}

async function sizeOf(dir: string): Promise<string> {
  const names = await readdir(dir)
  const sizes = await Promise.all(names.map(async (name) => (await stat(path.join(dir, name))).size))
  return `${(sizes.reduce((sum, size) => sum + size, 0) / 1e6).toFixed(1)} MB in ${names.length} files`
}

const self = fileURLToPath(import.meta.url)
const [first = '600000', dir, count] = process.argv.slice(2)
if (dir !== undefined) {
  process.stdout.write(JSON.stringify(await measure(first, dir, Number(count))))
} else {
  const refs = Number(first)
  const root = await mkdtemp(path.join(tmpdir(), 'draftbridge-bench-'))
  try {
    process.stdout.write(`${refs} refs\n`)
    for (const name of Object.keys(tasks)) {
      const where = path.join(root, name.includes('512') ? 'often' : 'manifest')
      const args = [...process.execArgv, self, name, where, String(refs)]
      const row = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Row
      const size = name.startsWith('written') ? await sizeOf(where) : ''
      const times = `${row.seconds.toFixed(2).padStart(7)} s  ${row.cpuSeconds.toFixed(2).padStart(6)} s CPU`
      const numbers = `${times} ${row.megabytes.toFixed(0).padStart(5)} MB`
      process.stdout.write(`${name.padEnd(56)} ${numbers}  ${size}\n`)
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
