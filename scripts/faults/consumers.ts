/**
 * Two consumers of one store, one of them killed again and again.
 *
 *     node --import tsx scripts/faults/consumers.ts [--samples 2000] [--kills 20] [--record [--name NAME]]
 *
 * Exit status 1 when a sample was lost or acknowledged twice.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { StoreProcess } from '../../test/support/store-process.ts'
import { python, sampleSpecs, synthesize } from '../../test/support/tensors.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'

export interface ConsumersOutcome {
  /** Gone from the store, but no acknowledgement was reported. A kill right after an acknowledgement causes at most one. */
  readonly unreported: readonly string[]
  readonly unprocessed: readonly string[]
  readonly twice: readonly string[]
  readonly left: number
  readonly kills: number
  readonly seconds: number
}

interface Options {
  readonly root: string
  readonly samples: number
  readonly kills: number
}

/** Puts `samples` samples and has two processes consume them; one of them is killed `kills` times. */
export async function runConsumers({ root, samples, kills }: Options): Promise<ConsumersOutcome> {
  const started = performance.now()
  await using store = await sharedDirFeatureStore({ python, root, durability: 'fast' })
  const refs: SampleRef[] = []
  const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
  await using source = await synthesize(1, sampleSpecs(2, 2))
  for (let index = 0; index < samples; index++) {
    refs.push(await store.put(SampleId.parse(`run:${String(index).padStart(8, '0')}`), source, about))
  }
  const reported: string[] = []
  await using steady = await StoreProcess.open({ root, durability: 'fast' })
  const finished = steady.ask({ do: 'consumeAll', refs })
  const share = Math.max(1, Math.floor(samples / (3 * kills)))
  for (let kill = 0; kill < kills; kill++) reported.push(...(await killAfter({ root, refs, share })))
  await finished
  reported.push(...steady.acknowledged)
  const missing = await store.missing(refs)
  return {
    ...judged(refs, reported, missing, kills),
    left: refs.length - missing.length,
    kills,
    seconds: Math.round(performance.now() - started) / 1000,
  }
}

/** Runs the other consumer from the last sample backwards until it has done its share or nothing is left, then kills it. */
async function killAfter(given: { root: string; refs: readonly SampleRef[]; share: number }): Promise<string[]> {
  const { root, refs, share } = given
  await using child = await StoreProcess.open({ root, durability: 'fast' })
  let done = false
  const all = child.ask({ do: 'consumeAll', refs: [...refs].reverse() }).then(
    () => {
      done = true
    },
    () => undefined,
  )
  while (!done && child.acknowledged.length < share) await new Promise((resolve) => setTimeout(resolve, 1))
  await child.kill()
  await all
  return child.acknowledged
}

/** What became of `refs`: who was reported as acknowledged, and what the store has no more. */
export function judged(
  refs: readonly SampleRef[],
  reported: readonly string[],
  missing: readonly SampleRef[],
  kills: number,
) {
  const counts = new Map<string, number>()
  for (const id of reported) counts.set(id, (counts.get(id) ?? 0) + 1)
  const gone = new Set(missing.map((ref) => ref.sampleId))
  const unconfirmed = refs.map((ref) => ref.sampleId).filter((id) => !counts.has(id))
  const unreported = unconfirmed.filter((id) => gone.has(id))
  return {
    unreported,
    unprocessed: [...unconfirmed.filter((id) => !gone.has(id)), ...(unreported.length > kills ? unreported : [])],
    twice: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
  }
}

async function main(): Promise<void> {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  const { values } = parseArgs({ options: { ...recordOptions, samples: text('2000'), kills: text('20') } })
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-consumers-'))
  const options = { root: path.join(dir, 'store'), samples: Number(values.samples), kills: Number(values.kills) }
  const { unprocessed, twice, left, unreported, seconds } = await runConsumers(options)
  await rm(dir, { recursive: true, force: true })
  const recorder = new Recorder({ title: 'Two consumers', ...values, name: values.name ?? 'consumers' })
  recorder.add({
    title: `${options.samples} samples, one of two consumers killed ${options.kills} times`,
    columns: ['', 'samples'],
    rows: [
      ['never processed', String(unprocessed.length)],
      ['acknowledged twice', String(twice.length)],
      ['left in the store', String(left)],
      ['acknowledged, but killed before it could say so', String(unreported.length)],
    ],
  })
  recorder.note(`${seconds} s`)
  await recorder.write()
  process.exit(unprocessed.length + twice.length + left === 0 ? 0 : 1)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
