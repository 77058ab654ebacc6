import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import type { RunConfig } from '../../src/config/schema.ts'
import { freePort } from '../../src/launch/machine.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { colocate } from '../../src/roles/train/colocate.ts'
import { type Started, started, watchedChild } from '../support/cli.ts'
import { launchedRanks } from '../support/processes.ts'
import { tempDir } from '../support/temp-dir.ts'
import {
  checkpointOf,
  differingBits,
  pythonProgram,
  trainingConfig,
  trainingInputs,
  untilStep,
  watched,
} from '../support/training.ts'

const [EPOCHS, LAST] = [24, 60]
const RUN_MS = 240_000

let dir: string
let baseline: string

async function job(name: string): Promise<{ config: RunConfig; file: string }> {
  const given = trainingConfig(dir, { name, ranks: 2, epochs: EPOCHS, save: 10 })
  const config = { ...given, launch: { ...given.launch, threadsPerRank: 1 } }
  const file = path.join(dir, `${name}.json`)
  await writeFile(file, JSON.stringify(config))
  return { config, file }
}

/** Two ranks of one node. */
function torchrun(file: string, ...more: string[]): Started {
  const engine = ['--nnodes', '1', '--nproc-per-node', '2', '--rdzv-backend', 'c10d', '--rdzv-endpoint', '127.0.0.1:0']
  const rank = [process.execPath, '--import', 'tsx', 'src/cli/main.ts', 'rank', '-c', file]
  const words = [...engine, '--max-restarts', '2', '--no-python', ...rank, ...more]
  return watchedChild(spawn(path.join(path.dirname(pythonProgram), 'torchrun'), words))
}

const last = ({ run }: RunConfig) => checkpointOf(run.dir, LAST)

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  const given = trainingConfig(dir, { name: 'colocated', ranks: 2, epochs: EPOCHS, local: true })
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  baseline = (await colocate({ ...given, launch: { ...given.launch, threadsPerRank: 1 } }, watched())).checkpoint
}, RUN_MS)

it.each([0, 1])(
  'rank %i is killed: torchrun starts both again, and they end with the bits of the colocated run',
  {
    timeout: RUN_MS,
  },
  async (victim) => {
    const { config, file } = await job(`killed-${victim}`)
    const { ended } = torchrun(file)
    await untilStep(config.run.dir, 15)
    process.kill((await launchedRanks(file)).get(victim) as number, 'SIGKILL')
    const { code, stderr } = await ended
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    const { events } = await readEvents(config.run.dir)
    const starts = events.flatMap(({ body }) => (body.event === 'rank.launched' ? [body.restart] : []))
    expect(starts).toEqual([0, 1])
    expect(events.some(({ body }) => body.event === 'train.started' && (body.resumedFrom ?? 0) >= 10)).toBe(true)
    expect(await differingBits(baseline, last(config))).toBe(0)
  },
)

it('torchrun tells the error of a rank with its code', { timeout: RUN_MS }, async () => {
  const { file } = await job('refused')
  const { code, stderr } = await torchrun(
    file,
    '--set',
    'target.model=/nowhere',
    '--set',
    'launch.peerTimeoutSeconds=5',
  ).ended
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/exitcode\s*: 64[\s\S]*CONFIG_INVALID/)
})

it('ranks end within 5 s when torchrun itself is killed', { timeout: RUN_MS }, async () => {
  const { config, file } = await job('orphans')
  const { child, ended } = torchrun(file)
  await untilStep(config.run.dir, 5)
  child.kill('SIGKILL')
  await ended
  for (let look = 0; look < 50 && (await launchedRanks(file)).size > 0; look += 1) await sleep(100)
  expect((await launchedRanks(file)).size).toBe(0)
})

it('ranks that were given different settings end with CONFIG_INVALID', { timeout: RUN_MS }, async () => {
  const { file } = await job('differs')
  const port = String(await freePort())
  const ranks = [0, 1].map((rank) => {
    const local = { RANK: String(rank), LOCAL_RANK: String(rank), LOCAL_WORLD_SIZE: '2' }
    const env = { ...local, WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1', MASTER_PORT: port }
    return started(env, 'rank', '-c', file, '--set', `train.ttt.steps=${rank + 2}`).ended
  })
  const ended = await Promise.all(ranks)
  for (const { code, stderr } of ended)
    expect([code, stderr]).toEqual([64, expect.stringContaining('different settings')])
})

it('outside of any launcher the command says which line starts it', async () => {
  const { file } = await job('alone')
  const words = ['--import', 'tsx', 'src/cli/main.ts', 'rank', '-c', file]
  const { code, stderr } = await watchedChild(spawn(process.execPath, words)).ended
  expect([code, stderr]).toEqual([64, expect.stringContaining('RANK or SLURM_PROCID')])
})
