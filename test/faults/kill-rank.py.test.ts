import { afterAll, beforeAll, expect, it } from 'vitest'
import { produce } from '../../src/roles/produce/produce.ts'
import { consume } from '../../src/roles/train/consume.ts'
import { rankProcesses } from '../support/processes.ts'
import { expectNoHandles } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { curve, differingBits, trainingConfig, trainingInputs, type Watched, watched } from '../support/training.ts'

const long = { ranks: 2, epochs: 16, save: 10 } as const
let dir: string
let whole: { checkpoint: string; watched: Watched }

beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
  await produce(trainingConfig(dir, { name: 'producer', ranks: 1 }), watched())
  const context = watched()
  const { checkpoint } = await consume(trainingConfig(dir, { name: 'whole', ...long }), context)
  whole = { checkpoint, watched: context }
}, 300_000)
afterAll(expectNoHandles)

const broken = () => trainingConfig(dir, { name: 'broken', ...long })

it('asked to stop, all ranks save the same step and the run is INTERRUPTED', async () => {
  const context = watched((body) => {
    if (body.event === 'train.metrics' && body.step === 6) context.abort.abort('SIGTERM')
  })
  await expect(consume(broken(), context)).rejects.toMatchObject({
    code: 'INTERRUPTED',
    exitCode: 143,
    message: expect.stringMatching(/step-0000(0[6-9]|1\d)/),
  })
  expect((await rankProcesses()).size).toBe(0)
})

it('a rank killed with SIGKILL in mid-epoch ends the run within 10 s, coded, and leaves no process', async () => {
  let killed = 0
  const context = watched((body) => {
    if (body.event !== 'train.metrics' || body.step !== 25) return
    void rankProcesses().then((ranks) => {
      killed = performance.now()
      process.kill(ranks.get(1) ?? 0, 'SIGKILL')
    })
  })
  const error: unknown = await consume(broken(), context).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'RANK_DIED',
    details: { rank: 1, signal: 'SIGKILL', phase: expect.stringMatching(/step/) },
  })
  expect(performance.now() - killed).toBeLessThan(10_000)
  expect((await rankProcesses()).size).toBe(0)
  expect(curve(context).length).toBeLessThan(40)
})

it('started again, it goes on from the newest whole checkpoint and ends with bit-equal weights', async () => {
  const context = watched()
  const { checkpoint, step } = await consume(broken(), context)
  expect(step).toBe(40)
  const resumed = context.seen.flatMap((body) => (body.event === 'train.started' ? [body.resumedFrom] : []))
  expect([20, 30]).toContain(resumed[0])
  expect(curve(context)).toEqual(curve(whole.watched).slice(resumed[0] ?? 0))
  expect(await differingBits(whole.checkpoint, checkpoint)).toBe(0)
})
