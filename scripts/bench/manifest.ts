// What a manifest of many refs costs: bytes on disk, seconds and memory. Each row runs in its own process.
// Usage: npm run bench:manifest [-- --refs N] [--record [--name NAME]]
import { execFileSync } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { specBytes } from '../../src/core/feature-spec.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { ManifestWriter, readRefManifest } from '../../src/refs/manifest.ts'
import { exampleContract } from '../../test/support/refs.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { scratchFolder } from './scratch-folder.ts'

const HIDDEN = 3584
const FLUSH_MS = 2000
const RANKS = 8

const Cost = z.object({
  seconds: z.number(),
  /** CPU time of all threads. Other load on the machine changes it less than the wall time. */
  cpuSeconds: z.number(),
  /** How much the peak of the process's memory grew. */
  megabytes: z.number(),
})
type Cost = z.output<typeof Cost>

/** A ref like those of `ingest`: four features, digests that do not repeat, the path of a file. */
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
    features,
    digests: Object.fromEntries(features.map(({ name }, place) => [name, digest(place)])),
    numTokens: n,
    bytes,
    trainedTokens: n - 90,
    truncated: false,
    sourceBytes: bytes + 2048,
    order: index,
    provenance: { from },
  }
}

/** `flushes`: `clock` flushes every 2 s as a producer does; a number flushes after so many refs. */
async function write(dir: string, refs: number, flushes: 'clock' | number): Promise<void> {
  const clock = { now: () => Date.now() }
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
  if (tokens <= 0) throw new Error('one rank has all tokens')
}

const tasks: Record<string, (dir: string, refs: number) => Promise<void>> = {
  'refs made, not written (included in both rows below)': async (_, refs) => {
    for (let index = 0; index < refs; index += 1) bigRef(index)
  },
  'written, flushed every 2 s': (dir, refs) => write(dir, refs, 'clock'),
  'written, flushed every 512 refs': (dir, refs) => write(dir, refs, 512),
  'one rank of 8: all sums, all token counts, an eighth parsed': (dir) => readRank(dir),
  'all sums, every ref parsed and checked': async (dir) => {
    const { refs } = await readRefManifest({ dir })
    refs.checkAll()
  },
  'resumed: all read and checked, one ref added, published': async (dir, refs) => {
    const { runId, storeId } = bigRef(0)
    const clock = { now: () => Date.now() }
    const work = { dir, runId, storeId, contract: exampleContract, clock }
    await using writer = await ManifestWriter.open({ ...work, reopen: true })
    writer.append(bigRef(refs))
    await writer.complete([])
  },
}

async function measure(task: (dir: string, refs: number) => Promise<void>, dir: string, refs: number): Promise<Cost> {
  const before = process.memoryUsage.rss()
  const begun = performance.now()
  const cpu = process.cpuUsage()
  await task(dir, refs)
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  // The kernel's own high-water mark: a loop that never waits lets no timer sample the memory.
  const peak = process.resourceUsage().maxRSS * 1024
  return { seconds, cpuSeconds: (user + system) / 1e6, megabytes: (peak - before) / 1e6 }
}

async function sizeOf(dir: string): Promise<string> {
  const names = await readdir(dir)
  const sizes = await Promise.all(names.map(async (name) => (await stat(path.join(dir, name))).size))
  return `${(sizes.reduce((sum, size) => sum + size, 0) / 1e6).toFixed(1)} MB, ${names.length} files`
}

/** Runs one task in its own process. */
function measuredApart(name: string, dir: string, refs: number): Cost {
  const args = [...process.execArgv, import.meta.filename, '--task', name, '--dir', dir, '--refs', String(refs)]
  return Cost.parse(JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })))
}

const { values } = parseArgs({
  options: {
    ...recordOptions,
    refs: { type: 'string', default: '600000' },
    // Set by this script when it starts itself for one row.
    task: { type: 'string' },
    dir: { type: 'string', default: '' },
  },
})
const refs = Number(values.refs)
const task = values.task === undefined ? undefined : tasks[values.task]
if (task !== undefined) {
  process.stdout.write(JSON.stringify(await measure(task, values.dir, refs)))
} else {
  await using scratch = await scratchFolder(tmpdir())
  const recorder = new Recorder({ title: 'A manifest of many refs', ...values, name: values.name ?? 'manifest' })
  const table = recorder.table(`${refs} refs`, ['', 'wall', 'CPU', 'memory', 'on disk'])
  for (const name of Object.keys(tasks)) {
    const dir = path.join(scratch.dir, name.includes('512') ? 'often' : 'manifest')
    const { seconds, cpuSeconds, megabytes } = measuredApart(name, dir, refs)
    const size = name.startsWith('written') ? await sizeOf(dir) : ''
    table.row(name, `${seconds.toFixed(2)} s`, `${cpuSeconds.toFixed(2)} s`, `${megabytes.toFixed(0)} MB`, size)
  }
  recorder.note("Memory is the growth of the process's peak.")
  await recorder.write()
}
