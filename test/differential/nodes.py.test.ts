import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import type { RunConfig } from '../../src/config/schema.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { producedOf } from '../../src/report/events/produced-parts.ts'
import { colocate } from '../../src/roles/train/colocate.ts'
import { type Ended, type Started, started } from '../support/cli.ts'
import { ranksOfRun } from '../support/processes.ts'
import { tempDir } from '../support/temp-dir.ts'
import {
  checkpointOf,
  curve,
  differingBits,
  pythonProgram,
  trainingConfig,
  trainingInputs,
  untilStep,
  type Watched,
  watched,
} from '../support/training.ts'

/** Enough steps that a node can be killed between two of them. */
const EPOCHS = 24
const LAST = 60
/** It takes 9 s at most; other tests may keep this machine busy. */
const NOTICED_S = 15
const RUN_MS = 240_000

let dir: string
let baseline: { readonly checkpoint: string; readonly context: Watched }

/** A job whose pools have two nodes each, of one rank where they train. */
async function job(name: string): Promise<{ config: RunConfig; file: string }> {
  const given = trainingConfig(dir, { name, ranks: 2, epochs: EPOCHS, save: 10, store: 'shared' })
  const config = { ...given, launch: { ...given.launch, nodes: 4, producers: 2, ranksPerNode: 1, threadsPerRank: 1 } }
  const file = path.join(dir, `${name}.json`)
  await writeFile(file, JSON.stringify(config))
  return { config, file }
}

const onNode = (file: string, rank: number): Started =>
  started({ RCLI_NODE_RANK: String(rank), RCLI_NUM_NODES: '4', RCLI_HEAD_IP: '127.0.0.1' }, 'run', '-c', file)

const trainers = (file: string): readonly [Started, Started] => [onNode(file, 2), onNode(file, 3)]
const endedWell = ({ code, stderr }: Ended) => (code === 0 ? 'well' : stderr)

async function expectSameAsColocated(config: RunConfig): Promise<void> {
  const checkpoint = checkpointOf(config.run.dir, LAST)
  expect(await differingBits(baseline.checkpoint, checkpoint)).toBe(0)
}

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  const context = watched()
  const given = trainingConfig(dir, { name: 'colocated', ranks: 2, epochs: EPOCHS, save: 10, local: true })
  const config = { ...given, launch: { ...given.launch, threadsPerRank: 1 } }
  baseline = { checkpoint: (await colocate(config, context)).checkpoint, context }
}, RUN_MS)

it(
  'two nodes that produce and two that train, started by one line on each, are the colocated run to the last bit',
  async () => {
    const { config, file } = await job('whole')
    const ended = await Promise.all([0, 1, 2, 3].map((rank) => onNode(file, rank).ended))
    expect(ended.map(endedWell)).toEqual(['well', 'well', 'well', 'well'])
    const { events } = await readEvents(config.run.dir)
    const seen = events.map(({ body }) => body)
    expect(curve({ ...watched(), seen })).toEqual(curve(baseline.context))
    expect(seen.find(({ event }) => event === 'nodes.joined')).toMatchObject({ nodes: [{ ranks: 1 }, { ranks: 1 }] })
    await expectSameAsColocated(config)
    // A second start finds all done, on every node.
    const again = await Promise.all([0, 1, 2, 3].map((rank) => onNode(file, rank).ended))
    expect(again.map(endedWell)).toEqual(['well', 'well', 'well', 'well'])
    expect(again[2]?.stderr).toContain('finished already')
    // Also one start alone, with other numbers of nodes: equal global batches are the same run.
    const alone = ['run', '-c', file, '--role', 'consumer', '--node', '0/2', '--set', 'train.batch.samples=2']
    expect(endedWell(await started({}, ...alone).ended)).toBe('well')
    expect(endedWell(await started({}, 'run', '-c', file, '--role', 'producer', '--node', '1/3').ended)).toBe('well')
    const produced = producedOf(seen)
    expect([produced?.samples, produced?.inputs]).toEqual([11, 11])
  },
  RUN_MS,
)

it(
  'a node that is killed ends the others in time, who name it; the next start ends with the same bits',
  async () => {
    const { config, file } = await job('killed')
    const [first, second] = trainers(file)
    await untilStep(config.run.dir, 15)
    const begun = performance.now()
    second.child.kill('SIGKILL')
    const { code, stderr } = await first.ended
    expect((performance.now() - begun) / 1000).toBeLessThan(NOTICED_S)
    expect([code, stderr]).toEqual([69, expect.stringMatching(/training node 1 \(.*\) has failed/)])
    await expectNoRanks(config)
    expect((await Promise.all(trainers(file).map(({ ended }) => ended))).map(endedWell)).toEqual(['well', 'well'])
    await expectSameAsColocated(config)
  },
  RUN_MS,
)

it(
  'the first node that is killed ends the others, too',
  async () => {
    const { config, file } = await job('first-killed')
    const [first, second] = trainers(file)
    await untilStep(config.run.dir, 15)
    first.child.kill('SIGKILL')
    expect(await second.ended).toMatchObject({ code: 69, stderr: expect.stringContaining('node 0') })
    await expectNoRanks(config)
    expect((await Promise.all(trainers(file).map(({ ended }) => ended))).map(endedWell)).toEqual(['well', 'well'])
    await expectSameAsColocated(config)
  },
  RUN_MS,
)

it(
  'a rank that is killed is named by its node, and that node by the others',
  async () => {
    const { config, file } = await job('rank-killed')
    const [first, second] = trainers(file)
    await untilStep(config.run.dir, 15)
    const [victim] = await ranksOf(second)
    process.kill(victim as number, 'SIGKILL')
    expect(await second.ended).toMatchObject({
      code: 70,
      stderr: expect.stringContaining('rank 1 was killed by SIGKILL'),
    })
    const { code, stderr } = await first.ended
    expect([code, stderr]).toEqual([
      69,
      expect.stringMatching(/node 1 .* has failed[\s\S]*RANK_DIED: rank 1 was killed/),
    ])
    await expectNoRanks(config)
  },
  RUN_MS,
)

it(
  'SIGTERM on one node stops all at the same step, saved; the next start ends with the same bits',
  async () => {
    const { config, file } = await job('stopped')
    const [first, second] = trainers(file)
    await untilStep(config.run.dir, 15)
    second.child.kill('SIGTERM')
    const ended = await Promise.all([first.ended, second.ended])
    expect(ended.map(({ code }) => code)).toEqual([143, 143])
    const steps = ended.map(({ stderr }) => /stopped after step (\d+)/.exec(stderr)?.[1])
    expect(steps).toEqual([expect.any(String), steps[0]])
    expect((await Promise.all(trainers(file).map(({ ended: end }) => end))).map(endedWell)).toEqual(['well', 'well'])
    await expectSameAsColocated(config)
  },
  RUN_MS,
)

it('a node whose target is another one is refused', { timeout: RUN_MS }, async () => {
  const { file } = await job('other-target')
  const other = path.join(dir, 'other-target-model')
  const maker = path.join(import.meta.dirname, '../support/make_tiny_target.py')
  execFileSync(pythonProgram, [maker, other, '--seed', '3'])
  const second = started({ NODE_RANK: '3', NUM_NODES: '4' }, 'run', '-c', file, '--set', `target.model=${other}`)
  const [one, two] = await Promise.all([onNode(file, 2).ended, second.ended])
  expect([two.code, two.stderr]).toEqual([65, expect.stringContaining('CONTRACT_MISMATCH')])
  expect([one.code, one.stderr]).toEqual([69, expect.stringMatching(/training node 1 [\s\S]*CONTRACT_MISMATCH/)])
})

it(
  'a node with other settings is refused, by the name of the setting',
  async () => {
    const { file } = await job('differs')
    const [one, other] = [
      onNode(file, 2),
      started({ NODE_RANK: '3', NUM_NODES: '4' }, 'run', '-c', file, '--set', 'train.epochs=2'),
    ]
    const ended = await Promise.all([one.ended, other.ended])
    for (const { code, stderr } of ended) expect([code, stderr]).toEqual([64, expect.stringContaining('train.epochs')])
  },
  RUN_MS,
)

async function expectNoRanks({ run }: RunConfig): Promise<void> {
  for (let look = 0; look < 50 && (await ranksOfRun(run.dir)).length > 0; look += 1) await sleep(100)
  expect(await ranksOfRun(run.dir)).toEqual([])
}

/** The processes of the ranks that one supervisor has started. */
async function ranksOf({ child }: Started): Promise<readonly number[]> {
  const text = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
  return text.trim().split(' ').map(Number)
}
