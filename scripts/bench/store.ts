// What a put and a get cost beside the machine's own write and read, torch and safetensors. All sides take turns in one
// process; the medians are compared. Usage: npx tsx scripts/bench/store.ts [DIR] (DIR: where the store is made)
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { embedPython } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const dir = await mkdtemp(path.join(process.argv[2] ?? tmpdir(), 'draftbridge-bench-'))
const python = await embedPython()
const { pymport } = await import('pymport')
await pymport('site').get('addsitedir').callAsync(here)
const floor = pymport('store_floor')
const about = { runId: RunId.parse('bench'), numTokens: 1, provenance: {} }
const TURNS = 15

type Side = readonly [name: string, turn: () => Promise<number>]

const seconds = async (task: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now()
  await task()
  return (performance.now() - begun) / 1000
}

const foreign = (name: string, folder: string): Side => [
  name,
  async () => {
    const value = (await floor.get('measure').callAsync(name, folder)).toJS() as number
    await floor.get('clean').callAsync(folder)
    return value
  },
]

/** Every side once per turn, the first two turns not counted. */
async function medians(sides: readonly Side[], turns = TURNS): Promise<Map<string, number>> {
  const found = new Map<string, number[]>(sides.map(([name]) => [name, []]))
  for (let turn = -2; turn < turns; turn += 1) {
    for (const [name, run] of sides) {
      const value = await run()
      if (turn >= 0) found.get(name)?.push(value)
    }
  }
  return new Map([...found].map(([name, all]) => [name, all.sort((a, b) => a - b)[turns >> 1] ?? 0]))
}

function table(title: string, bytes: number, against: string, times: Map<string, number>): void {
  const base = times.get(against) ?? 0
  process.stdout.write(`\n${title}, ${(bytes / 1e6).toFixed(1)} MB (${against} = 1)\n`)
  for (const [name, time] of times) {
    const speed = `${(time * 1e3).toFixed(2).padStart(8)} ms ${(bytes / time / 1e9).toFixed(2).padStart(7)} GB/s`
    process.stdout.write(`  ${name.padEnd(28)} ${speed} ${(base / time).toFixed(2).padStart(6)}\n`)
  }
}

async function specimen(tokens: number, width: number): Promise<TensorSet> {
  const features = [
    { name: 'input_ids', shape: [tokens], dtype: 'int64' as const },
    { name: 'loss_mask', shape: [tokens], dtype: 'int64' as const },
    { name: 'hidden_state', shape: [tokens, width], dtype: 'bfloat16' as const },
    { name: 'aux_hidden_state', shape: [tokens, 3 * width], dtype: 'bfloat16' as const },
  ]
  return new TensorSet(python, await python.call('tensor.synthesize', { features, seed: 1 }))
}

async function opened(mode: 'none' | 'mac' | 'seal'): Promise<FeatureStore> {
  const root = path.join(dir, mode)
  const keyFile = path.join(dir, 'key')
  await writeFile(keyFile, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx' }).catch(() => undefined)
  const auth = mode === 'none' ? { mode } : { mode, keyFile }
  return sharedDirFeatureStore({ python, root, retain: true, auth })
}

const getting = (name: string, store: FeatureStore, ref: SampleRef, verify: boolean): Side => [
  name,
  async () => {
    const begun = performance.now()
    const lease = await store.get(ref, { verify })
    const taken = (performance.now() - begun) / 1000
    await lease[Symbol.asyncDispose]()
    return taken
  },
]

const putting = (name: string, store: FeatureStore, tensors: TensorSet): Side => {
  let count = 0
  return [
    name,
    async () => {
      const id = SampleId.parse(`put:${count++}`)
      const taken = await seconds(() => store.put(id, tensors, about))
      await store.abort(id)
      return taken
    },
  ]
}

async function compare(tokens: number, width: number): Promise<void> {
  const folder = path.join(dir, `${tokens}`)
  await mkdir(folder, { recursive: true })
  const { bytes } = JSON.parse(
    (await floor.get('prepare').callAsync(folder, String(tokens), String(width))).toJS() as string,
  )
  await using tensors = await specimen(tokens, width)
  const id = SampleId.parse(`sample:${tokens}`)
  const gets: Side[] = [foreign('preadv', folder)]
  const puts: Side[] = [foreign('write + fsync', folder)]
  const stores: FeatureStore[] = []
  for (const mode of ['none', 'mac', 'seal'] as const) {
    const store = await opened(mode)
    stores.push(store)
    const ref = await store.put(id, tensors, about)
    gets.push(getting(`get ${mode}, verified`, store, ref, true))
    if (mode === 'none') gets.push(getting('get none, not verified', store, ref, false))
    puts.push(putting(`put ${mode}`, store, tensors))
  }
  gets.push(foreign('torch.load + clone twice', folder), foreign('safetensors load + clone', folder))
  puts.push(foreign('torch.save + fsync', folder), foreign('safetensors save + fsync', folder))
  table('get', bytes, 'preadv', await medians(gets))
  table('put', bytes, 'write + fsync', await medians(puts))
  for (const store of stores) await store.close()
}

try {
  await compare(2048, 3584)
  await compare(17, 3584)
} finally {
  await rm(dir, { recursive: true, force: true })
}
