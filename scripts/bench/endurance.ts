/**
 * Many tiny samples in one process: speed, open files and memory must stay flat.
 *
 *     node --import tsx scripts/bench/endurance.ts [--samples 20000] [--gets 10000] [--dir DIR] [--record [--name NAME]]
 *
 * Exit status 1 when handles or open files grew.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { python, sampleSpecs, synthesize } from '../../test/support/tensors.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'

const AT_ONCE = 8
const PARTS = 5

interface State {
  readonly files: number
  readonly handles: number
  readonly residentMb: number
}

async function state(): Promise<State> {
  const { handles } = await python.call('host.live', {})
  const files = (await readdir('/proc/self/fd')).length
  return { files, handles, residentMb: Math.round(process.memoryUsage.rss() / 1e6) }
}

async function putAll(store: FeatureStore, samples: number): Promise<SampleRef[]> {
  const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
  await using source = await synthesize(1, sampleSpecs(2, 2))
  const refs: SampleRef[] = []
  for (let at = 0; at < samples; at += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, samples - at) }, (_, index) => at + index)
    const put = (index: number) => store.put(SampleId.parse(`run:${String(index).padStart(8, '0')}`), source, about)
    refs.push(...(await Promise.all(ids.map(put))))
  }
  return refs
}

async function getSome(store: FeatureStore, refs: readonly SampleRef[], gets: number, from: number): Promise<void> {
  for (let at = from; at < from + gets; at += 1) {
    const wanted = [0, 1].map((more) => refs[(at * 2 + more) % refs.length] as SampleRef)
    for (const lease of await store.getMany(wanted)) await lease[Symbol.asyncDispose]()
  }
}

async function main(): Promise<void> {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  const own = { samples: text('20000'), gets: text('10000'), dir: text(tmpdir()) }
  const { values } = parseArgs({ options: { ...recordOptions, ...own } })
  const dir = await mkdtemp(path.join(values.dir, 'draftbridge-endurance-'))
  await using store = await sharedDirFeatureStore({
    python,
    root: path.join(dir, 'store'),
    retain: true,
    durability: 'fast',
  })
  const rows: string[][] = []
  let began = performance.now()
  const refs = await putAll(store, Number(values.samples))
  const gets = Number(values.gets) / PARTS
  const states: State[] = []
  const row = async (what: string, times: number) => {
    const now = await state()
    states.push(now)
    const ms = (performance.now() - began) / times
    rows.push([what, ms.toFixed(2), String(now.files), String(now.handles), String(now.residentMb)])
    began = performance.now()
  }
  await row(`${refs.length} puts`, refs.length)
  for (let part = 0; part < PARTS; part += 1) {
    await getSome(store, refs, gets, part * gets)
    await row(`getMany ${part * gets} to ${(part + 1) * gets}, 2 samples each`, gets)
  }
  await store.close()
  await rm(dir, { recursive: true, force: true })
  const recorder = new Recorder({ title: 'Endurance', ...values, name: values.name ?? 'endurance' })
  const columns = ['', 'ms each', 'open files', 'handles', 'resident MB']
  recorder.add({ title: `${refs.length} tiny samples, ${values.gets} getMany`, columns, rows })
  await recorder.write()
  const [first, last] = [states[1], states.at(-1)]
  const grew = first === undefined || last === undefined || last.files > first.files || last.handles > first.handles
  process.exit(grew ? 1 : 0)
}

await main()
