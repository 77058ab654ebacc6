// What a put and a get cost beside the machine's own write and read, torch and safetensors, and with many samples stored.
// All sides take turns in one process; the medians are compared. Usage: npm run bench:store [-- DIR [TURNS]]
// DIR: where the stores are made (default: the temp folder).
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { embedPython } from '../../src/bridge/python.ts'
import { SampleId } from '../../src/core/ids.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { compareResidents } from './residents.ts'
import { about, getting, opened, putting, specimen } from './store-sides.ts'
import { median, type Side, table, takeTurns } from './turns.ts'

const [where = tmpdir(), turnsText = '31'] = process.argv.slice(2)
const turns = Number(turnsText)
const dir = await mkdtemp(path.join(where, 'draftbridge-bench-'))
await embedPython()
const { pymport } = await import('pymport')
await pymport('site')
  .get('addsitedir')
  .callAsync(path.dirname(fileURLToPath(import.meta.url)))
const floor = pymport('store_floor')

const foreign = (name: string, folder: string): Side => [
  name,
  async () => {
    const value = (await floor.get('measure').callAsync(name, folder)).toJS() as number
    await floor.get('clean').callAsync(folder)
    return value
  },
]

async function compare(tokens: number, width: number): Promise<void> {
  const folder = path.join(dir, `${tokens}`)
  await mkdir(folder, { recursive: true })
  const { bytes } = JSON.parse(
    (await floor.get('prepare').callAsync(folder, String(tokens), String(width))).toJS() as string,
  )
  await using tensors = await specimen(tokens, width)
  const gets: Side[] = [foreign('preadv', folder)]
  const puts: Side[] = [foreign('write + fsync', folder)]
  const stores: FeatureStore[] = []
  for (const mode of ['none', 'mac', 'seal'] as const) {
    const store = await opened(folder, { mode })
    stores.push(store)
    const ref = await store.put(SampleId.parse('sample'), tensors, about)
    gets.push(getting(`get ${mode}, verified`, store, ref, true))
    if (mode === 'none') gets.push(getting('get none, not verified', store, ref, false))
    puts.push(putting(`put ${mode}`, store, tensors))
  }
  const fast = await opened(folder, { mode: 'none', durability: 'fast' })
  stores.push(fast)
  const unsynced = [foreign('write', folder), putting('put none, fast', fast, tensors), foreign('torch.save', folder)]
  gets.push(foreign('torch.load + clone twice', folder), foreign('safetensors load + clone', folder))
  puts.push(foreign('torch.save + fsync', folder), foreign('safetensors save + fsync', folder))
  table('get', bytes, 'preadv', await takeTurns(gets, turns))
  table('put', bytes, 'write + fsync', await takeTurns(puts, turns))
  table('put, nothing synced', bytes, 'write', await takeTurns(unsynced, turns))
  for (const store of stores) await store.close()
}

/** A virtual machine may have its cores from one real one; then two threads read no faster than one. */
async function compareCores(): Promise<void> {
  const folder = path.join(dir, 'cores')
  await mkdir(folder, { recursive: true })
  await floor.get('prepare').callAsync(folder, '2048', '3584')
  const found = await takeTurns([foreign('preadv', folder), foreign('preadv, two threads', folder)], turns)
  const [one = 0, two = 1] = [...found.values()].map(median)
  process.stdout.write(`two threads read ${(one / two).toFixed(2)} times as fast as one\n`)
}

try {
  await compareCores()
  await compare(2048, 3584)
  await compare(17, 3584)
  await compareResidents(dir, turns)
  await compareCores()
} finally {
  await rm(dir, { recursive: true, force: true })
}
