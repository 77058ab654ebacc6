// What a put and a get cost against the machine's own write and read, torch and safetensors, and with many samples stored.
// All sides take turns in one process; medians are compared.
// Usage: npm run bench:store [-- --dir DIR] [--turns N] [--counts 100,1000] [--record [--name NAME]]
// --dir: on the file system to measure. --counts: how many samples the stores of the last table hold.
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { embedPython } from '../../src/bridge/python.ts'
import { SampleId } from '../../src/core/ids.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { compareResidents } from './residents.ts'
import { scratchFolder } from './scratch-folder.ts'
import { median } from './statistics.ts'
import { getting, newStore, putting, specimen, specimenMetadata } from './store-sides.ts'
import { addComparison, type Side, takeTurns } from './turns.ts'

const { values } = parseArgs({
  options: {
    ...recordOptions,
    dir: { type: 'string', default: tmpdir() },
    turns: { type: 'string', default: '31' },
    counts: { type: 'string', default: '100,1000,10000,100000' },
  },
})
const turns = Number(values.turns)
await using scratch = await scratchFolder(values.dir)
const { dir } = scratch
await embedPython()
const { pymport } = await import('pymport')
await pymport('site')
  .get('addsitedir')
  .callAsync(import.meta.dirname)
const floor = pymport('store_floor')
const recorder = new Recorder({ title: 'A store of samples', ...values, name: values.name ?? 'store' })

/** A side that scripts/bench/store_floor.py runs and times. */
const foreign = (name: string, folder: string): Side => [
  name,
  async () => {
    const seconds = z.number().parse((await floor.get('measure').callAsync(name, folder)).toJS())
    await floor.get('clean').callAsync(folder)
    return seconds
  },
]

/** Writes the sample in each foreign form into `folder`. Gives its size in bytes. */
async function prepareForeign(folder: string, tokens: number, width: number): Promise<number> {
  await mkdir(folder, { recursive: true })
  const answer = (await floor.get('prepare').callAsync(folder, String(tokens), String(width))).toJS()
  return z.object({ bytes: z.number() }).parse(JSON.parse(z.string().parse(answer))).bytes
}

async function compare(tokens: number, width: number): Promise<void> {
  const folder = path.join(dir, `${tokens}`)
  const bytes = await prepareForeign(folder, tokens, width)
  await using tensors = await specimen(tokens, width)
  const gets: Side[] = [foreign('preadv', folder)]
  const puts: Side[] = [foreign('write + fsync', folder)]
  const stores: FeatureStore[] = []
  for (const mode of ['none', 'mac', 'seal'] as const) {
    const store = await newStore(folder, { mode })
    stores.push(store)
    const ref = await store.put(SampleId.parse('sample'), tensors, specimenMetadata)
    gets.push(getting(`get ${mode}, verified`, store, ref, true))
    if (mode === 'none') gets.push(getting('get none, not verified', store, ref, false))
    puts.push(putting(`put ${mode}`, store, tensors))
  }
  const fast = await newStore(folder, { mode: 'none', durability: 'fast' })
  stores.push(fast)
  const unsynced = [foreign('write', folder), putting('put none, fast', fast, tensors), foreign('torch.save', folder)]
  gets.push(foreign('torch.load + clone twice', folder), foreign('safetensors load + clone', folder))
  puts.push(foreign('torch.save + fsync', folder), foreign('safetensors save + fsync', folder))
  const add = async (title: string, against: string, sides: readonly Side[]): Promise<void> =>
    addComparison(recorder, { title, bytes, against, found: await takeTurns(sides, turns) })
  await add('get', 'preadv', gets)
  await add('put', 'write + fsync', puts)
  await add('put, nothing synced', 'write', unsynced)
  for (const store of stores) await store.close()
}

/** On a virtual machine two cores may be one real core; then two threads read no faster than one. */
async function compareCores(): Promise<void> {
  const folder = path.join(dir, 'cores')
  await prepareForeign(folder, 2048, 3584)
  const found = await takeTurns([foreign('preadv', folder), foreign('preadv, two threads', folder)], turns)
  const [one = 0, two = 1] = [...found.values()].map(median)
  recorder.note(`Two threads read ${(one / two).toFixed(2)} times as fast as one.`)
}

await compareCores()
await compare(2048, 3584)
await compare(17, 3584)
await compareResidents(recorder, { dir, turns, counts: values.counts.split(',').map(Number) })
await compareCores()
await recorder.write()
