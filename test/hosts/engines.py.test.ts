import { spawnSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../src/config/schema.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { colocate } from '../../src/roles/train/colocate.ts'
import { draftbridge, started } from '../support/cli.ts'
import { ranksOfRun } from '../support/processes.ts'
import { Slurm } from '../support/slurm.ts'
import { tempDir } from '../support/temp-dir.ts'
import { checkpointOf, differingBits, trainingConfig, trainingInputs, untilStep, watched } from '../support/training.ts'

const [EPOCHS, LAST] = [24, 60]
const JOB_MS = 300_000

let dir: string
let baseline: string

/** A job of one node that produces and two that train, with one rank each. */
async function job(name: string): Promise<{ config: RunConfig; file: string }> {
  const given = trainingConfig(dir, { name, ranks: 2, epochs: EPOCHS, save: 10, store: `store-${name}` })
  const launch = { ...given.launch, nodes: 3, ranksPerNode: 1, threadsPerRank: 1, peerTimeoutSeconds: 60 }
  const file = path.join(dir, `${name}.json`)
  await writeFile(file, JSON.stringify({ ...given, launch }))
  return { config: given, file }
}

const bits = ({ run }: RunConfig): Promise<number> => differingBits(baseline, checkpointOf(run.dir, LAST))

/** The process of one rank of a run. */
async function rankOf({ run }: RunConfig, rank: number): Promise<number> {
  for (const pid of await ranksOfRun(run.dir)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (environment.includes(`DRAFTBRIDGE_RANK_SPEC={"place":{"rank":${rank},`)) return pid
  }
  throw new Error(`rank ${rank} does not run`)
}

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  const given = trainingConfig(dir, { name: 'colocated', ranks: 2, epochs: EPOCHS, local: true })
  baseline = (await colocate({ ...given, launch: { ...given.launch, threadsPerRank: 1 } }, watched())).checkpoint
}, JOB_MS)

describe('launch --on local', () => {
  it('runs all nodes, to the bits of the colocated run', { timeout: JOB_MS }, async () => {
    const { config, file } = await job('local')
    const { code, stderr } = await draftbridge('launch', '--on', 'local', '-c', file)
    expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
    for (const label of ['[producer 0] ', '[consumer 0] ']) expect(stderr).toContain(label)
    expect(await bits(config)).toBe(0)
  })

  it('ends all nodes when it is killed itself, and when one fails', { timeout: JOB_MS }, async () => {
    const { config, file } = await job('local-killed')
    const launcher = started({}, 'launch', '--on', 'local', '-c', file)
    await untilStep(config.run.dir, 12)
    launcher.child.kill('SIGKILL')
    for (let look = 0; look < 50 && (await ranksOfRun(config.run.dir)).length > 0; look += 1) await sleep(100)
    expect(await ranksOfRun(config.run.dir)).toEqual([])
    const again = started({}, 'launch', '--on', 'local', '-c', file)
    await untilStep(config.run.dir, 22)
    process.kill(await rankOf(config, 1), 'SIGKILL')
    const { code, stderr } = await again.ended
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/\[consumer 1\] .*RANK_DIED: rank 1 was killed by SIGKILL/)
    expect((await draftbridge('launch', '--on', 'local', '-c', file)).code).toBe(0)
    expect(await bits(config)).toBe(0)
  })
})

const whyNot = Slurm.whyNot()
if (whyNot !== null) it('a job under Slurm', (context) => context.skip(whyNot))
describe.skipIf(whyNot !== null)('launch --on slurm', () => {
  let slurm: Slurm
  beforeAll(async () => {
    slurm = await Slurm.open(3)
  }, JOB_MS)
  afterAll(() => slurm[Symbol.asyncDispose]())

  async function submitted(name: string): Promise<{ config: RunConfig; id: string; log: () => Promise<string> }> {
    const { config, file } = await job(name)
    const script = path.join(dir, `${name}.sh`)
    expect((await draftbridge('launch', '--on', 'slurm', '-c', file, '--out', script)).code).toBe(0)
    const id = slurm.submit(script)
    return { config, id, log: () => readFile(path.join(config.run.dir, `slurm-${id}.log`), 'utf8') }
  }

  async function untilDone(id: string): Promise<void> {
    while (slurm.states(id).length > 0) await sleep(500)
  }

  it('writes a script that trains to the bits of the colocated run', { timeout: JOB_MS }, async () => {
    const { config, id, log } = await submitted('slurm')
    await untilDone(id)
    expect(await log()).toContain('trained to step 60')
    expect(await bits(config)).toBe(0)
  })

  it('a job of which a rank is killed is queued again, and ends with the same bits', { timeout: JOB_MS }, async () => {
    const { config, id, log } = await submitted('slurm-killed')
    await untilStep(config.run.dir, 15)
    process.kill(await rankOf(config, 1), 'SIGKILL')
    while (!slurm.states(id).some((state) => state.includes('BeginTime'))) await sleep(500)
    expect(await log()).toContain('queued again (1 of 3)')
    expect(await ranksOfRun(config.run.dir)).toEqual([])
    slurm.startNow(id)
    await untilDone(id)
    expect(await bits(config)).toBe(0)
    const { events } = await readEvents(config.run.dir)
    expect(events.filter(({ body }) => body.event === 'train.started')).toHaveLength(2)
  })
})

describe('job files', () => {
  it('of Slurm are clean to shellcheck, hold no secret, and are not written over', async (context) => {
    const { file } = await job('files')
    const out = path.join(dir, 'files.sh')
    const key = 'ab'.repeat(32)
    const words = [
      'launch',
      '--on',
      'slurm',
      '-c',
      file,
      '--out',
      out,
      '--sbatch',
      '--partition=gpu',
      '--set',
      "run.id=it's",
    ]
    expect((await started({ DRAFTBRIDGE_STORE_KEY: key }, ...words).ended).stderr).toContain('run.id')
    expect((await started({ DRAFTBRIDGE_STORE_KEY: key }, ...words.slice(0, -2)).ended).code).toBe(0)
    const text = await readFile(out, 'utf8')
    expect(text.match(/#SBATCH --partition=gpu/g)).toHaveLength(2)
    expect(text).not.toContain(key)
    expect(await draftbridge(...words.slice(0, -2))).toMatchObject({ code: 64 })
    expect(await readdir(path.join(dir, 'files'))).toEqual([])
    const checked = spawnSync('shellcheck', [out], { encoding: 'utf8' })
    if (checked.error !== undefined) context.skip('shellcheck is not installed')
    expect(checked.stdout).toBe('')
  })

  it('need the number of nodes, and options that sbatch can read', async () => {
    const { file } = await job('wrong')
    const words = ['launch', '--on', 'slurm', '-c', file]
    expect((await draftbridge(...words, '--set', 'launch.nodes=auto')).stderr).toContain('launch.nodes')
    expect((await draftbridge(...words, '--sbatch', 'gpu')).stderr).toContain('no option of sbatch')
    expect((await draftbridge(...words, '--set', `run.dir=${dir}/a b`)).stderr).toContain('run.dir')
  })

  it('the line for rcli starts this very program', async () => {
    const { file } = await job('rcli')
    const { stdout } = await draftbridge('launch', '--on', 'rcli', '-c', file, '--set', 'train.epochs=1')
    expect(stdout).toMatch(/^rcli exec --per-node '.*draftbridge\.mjs run -c .*rcli\.json --set train\.epochs=1'\n$/)
  })
})
