/**
 * Two consumers on two hosts that share a GlusterFS volume. One is killed again and again; the other one's network is down
 * for a while.
 *
 *     node --import tsx scripts/faults/two-hosts.ts [--samples 500] [--kills 10] [--down 90] [--seed 1] [--record [--name NAME]]
 *
 * Exit status 1 when a sample was lost or acknowledged twice. Needs root and glusterfs-server.
 */
import { execFileSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { type GlusterHost, GlusterHosts } from '../../test/support/gluster-hosts.ts'
import { StoreProcess } from '../../test/support/store-process.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { judged } from './consumers.ts'
import { Random } from './random.ts'

/** Long enough that each of the two is at work when the other one is in trouble. */
const WORK_MS = 300
const AGAIN_MS = 2000

const on = (host: GlusterHost): Promise<StoreProcess> =>
  StoreProcess.open({ root: path.join(host.mount, 'store') }, host.run)

async function putAll(host: GlusterHost, samples: number): Promise<SampleRef[]> {
  await using producer = await on(host)
  const refs: SampleRef[] = []
  for (let index = 0; index < samples; index += 1) {
    const sampleId = `run:${String(index).padStart(8, '0')}`
    const { ref } = await producer.ask({ do: 'put', sampleId, seed: index })
    if (ref === undefined) throw new Error(`${sampleId} was not put`)
    refs.push(ref)
  }
  await producer.ask({ do: 'close' })
  return refs
}

/** Consumes until nothing is left; after an error in a new process. What was acknowledged, and the codes of the errors. */
async function consume(host: GlusterHost, refs: readonly SampleRef[]) {
  const [acknowledged, errors]: [string[], string[]] = [[], []]
  for (;;) {
    const child = await on(host).catch(() => null)
    if (child === null) errors.push('not opened')
    const done = await child?.ask({ do: 'consumeAll', refs, workMs: WORK_MS }).catch((error: unknown) => {
      errors.push(
        error instanceof Error && 'code' in error && error.code !== 'no code' ? String(error.code) : String(error),
      )
      return null
    })
    acknowledged.push(...(child?.acknowledged ?? []))
    await child?.[Symbol.asyncDispose]()
    if (done?.done === true) return { acknowledged, errors }
    await sleep(AGAIN_MS)
  }
}

/** Consumes from the last sample backwards, and is killed at random moments. What was acknowledged. */
async function consumeAndDie(host: GlusterHost, refs: readonly SampleRef[], kills: number, random: Random) {
  const acknowledged: string[] = []
  const backwards = [...refs].reverse()
  for (let kill = 0; kill < kills; kill += 1) {
    await using child = await on(host)
    const work = child.ask({ do: 'consumeAll', refs: backwards, workMs: WORK_MS }).catch(() => undefined)
    await sleep(1000 + random.below(6000))
    await child.kill()
    await work
    acknowledged.push(...child.acknowledged)
  }
  return acknowledged
}

async function cutOff(host: GlusterHost, seconds: number): Promise<void> {
  await sleep(10_000)
  host.link('down')
  await sleep(seconds * 1000)
  host.link('up')
}

async function main(): Promise<void> {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  const own = { samples: text('500'), kills: text('10'), down: text('90'), seed: text('1') }
  const { values } = parseArgs({ options: { ...recordOptions, ...own } })
  const why = GlusterHosts.whyNot()
  if (why !== null) throw new Error(why)
  await using cluster = await GlusterHosts.open(2)
  const [first, second] = cluster.hosts as readonly [GlusterHost, GlusterHost]
  const kills = Number(values.kills)
  const refs = await putAll(first, Number(values.samples))
  const started = performance.now()
  const [steady, killed] = await Promise.all([
    consume(first, refs),
    consumeAndDie(second, refs, kills, new Random(Number(values.seed))),
    cutOff(first, Number(values.down)),
  ])
  const rest = await consume(second, refs)
  // An acknowledgement counts before its sample is removed: what a kill left in between is removed by gc.
  const root = path.join(second.mount, 'store')
  const gc = [
    ...second.run,
    process.execPath,
    '--import',
    'tsx',
    'src/cli/main.ts',
    'store',
    'gc',
    '--grace',
    '0s',
    '--store',
    root,
  ]
  execFileSync(gc[0] as string, gc.slice(1), { stdio: 'inherit' })
  const objects = (await readdir(path.join(cluster.brick, 'store/objects'), { recursive: true })).filter((name) =>
    name.endsWith('.safetensors'),
  )
  // What another process finds no more is gone: `consume` ends only then.
  const found = judged(
    refs,
    [...steady.acknowledged, ...killed, ...rest.acknowledged],
    refs,
    kills + steady.errors.length,
  )
  const recorder = new Recorder({ title: 'Two hosts', ...values, name: values.name ?? 'two-hosts' })
  recorder.add({
    title: `${refs.length} samples, one consumer killed ${kills} times, the other one's network down for ${values.down} s`,
    columns: ['', 'samples'],
    rows: [
      ['never processed', String(found.unprocessed.length)],
      ['acknowledged twice', String(found.twice.length)],
      ['left in the store after gc', String(objects.length)],
      ['acknowledged, but ended before it could say so', String(found.unreported.length)],
      [
        'acknowledged by the host that was cut off / killed',
        `${steady.acknowledged.length} / ${killed.length + rest.acknowledged.length}`,
      ],
    ],
  })
  recorder.note(
    `${Math.round((performance.now() - started) / 1000)} s; the host that was cut off was told: ${steady.errors.join(', ') || 'nothing'}`,
  )
  await recorder.write()
  process.exitCode = found.unprocessed.length + found.twice.length + objects.length === 0 ? 0 : 1
}

await main()
