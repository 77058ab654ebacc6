/**
 * Two consumers of one store, one of them killed again and again: `node --import tsx scripts/faults/consumers.ts
 * [--samples 2000] [--kills 20]`. Prints what became of the samples; exits 1 when a promise was broken.
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

export interface ConsumersOutcome {
  /** Gone from the store, and nobody has said that its work was done: at most one for each kill may look like it. */
  readonly unheard: readonly string[]
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

/** A kill may fall between an acknowledgement and the word of it: that one is `unheard`, and its sample is gone. */
export async function runConsumers({ root, samples, kills }: Options): Promise<ConsumersOutcome> {
  const started = performance.now()
  await using store = await sharedDirFeatureStore({ python, root, durability: 'fast' })
  const refs: SampleRef[] = []
  const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }
  await using source = await synthesize(1, sampleSpecs(2, 2))
  for (let index = 0; index < samples; index++) {
    refs.push(await store.put(SampleId.parse(`run:${String(index).padStart(8, '0')}`), source, about))
  }
  const heard: string[] = []
  await using steady = await StoreProcess.open({ root, durability: 'fast' })
  const finished = steady.ask({ do: 'consumeAll', refs })
  const share = Math.max(1, Math.floor(samples / (3 * kills)))
  for (let kill = 0; kill < kills; kill++) heard.push(...(await killAfter({ root, refs, share })))
  await finished
  heard.push(...steady.acknowledged)
  const missing = await store.missing(refs)
  return {
    ...judged(refs, heard, missing, kills),
    left: refs.length - missing.length,
    kills,
    seconds: Math.round(performance.now() - started) / 1000,
  }
}

/** Runs the other consumer from the far end until it has done its share, or there is nothing left to do. */
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

function judged(refs: readonly SampleRef[], heard: readonly string[], missing: readonly SampleRef[], kills: number) {
  const counts = new Map<string, number>()
  for (const id of heard) counts.set(id, (counts.get(id) ?? 0) + 1)
  const gone = new Set(missing.map((ref) => ref.sampleId))
  const silent = refs.map((ref) => ref.sampleId).filter((id) => !counts.has(id))
  const unheard = silent.filter((id) => gone.has(id))
  return {
    unheard,
    unprocessed: [...silent.filter((id) => !gone.has(id)), ...(unheard.length > kills ? unheard : [])],
    twice: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { samples: { type: 'string', default: '2000' }, kills: { type: 'string', default: '20' } },
  })
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-consumers-'))
  const options = { root: path.join(dir, 'store'), samples: Number(values.samples), kills: Number(values.kills) }
  const outcome = await runConsumers(options)
  await rm(dir, { recursive: true, force: true })
  process.stdout.write(`${JSON.stringify({ samples: options.samples, ...outcome })}\n`)
  const broken = outcome.unprocessed.length + outcome.twice.length + outcome.left
  process.exit(broken === 0 ? 0 : 1)
}
