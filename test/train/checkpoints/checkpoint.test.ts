import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PublishingFolder, takeAway } from '../../../src/core/liveness/publishing-folder.ts'
import { CheckpointFolder, verify } from '../../../src/train/checkpoints/checkpoint.ts'
import {
  type CheckpointPosition,
  parseRecord,
  requireSameRun,
} from '../../../src/train/checkpoints/checkpoint-record.ts'

let dir: string
let folder: CheckpointFolder
beforeEach(async () => {
  dir = path.join(await mkdtemp(path.join(os.tmpdir(), 'draftbridge-checkpoint-')), 'checkpoints')
  folder = new CheckpointFolder(dir)
})
afterEach(() => rm(path.dirname(dir), { recursive: true, force: true }))

const record = (globalStep: number): CheckpointPosition => ({
  formatVersion: 1,
  globalStep,
  totalSteps: 100,
  epoch: 1,
  cursor: globalStep * 2,
  worldSize: 2,
  source: { runId: 'run', storeId: 'store', manifestSha256: 'a'.repeat(64) },
  identity: { 'run.seed': 0, 'train.batch': { samples: 2 } },
})

async function save(step: number, keep = 10, metric: number | null = null): Promise<string> {
  const at = await folder.begin(step)
  await writeFile(path.join(at, 'model.safetensors'), `weights of ${step}`)
  await writeFile(path.join(at, 'rng-1.bin'), 'state')
  return folder.complete({ ...record(step), metric }, keep)
}

describe('a checkpoint', () => {
  it('lies under its step and says of every file how long it is and what its sha256 is', async () => {
    expect(await save(500)).toBe(path.join(dir, 'step-000500'))
    const newest = await folder.newest()
    expect(newest?.record).toMatchObject({ globalStep: 500, cursor: 1000 })
    expect(newest?.record.files.map(({ name, bytes }) => [name, bytes])).toEqual([
      ['model.safetensors', 14],
      ['rng-1.bin', 5],
    ])
    expect(await readdir(path.join(dir, 'step-000500'))).toHaveLength(3)
    expect(await readdir(dir)).toEqual(['step-000500'])
  })

  it('counts only once its record is there: an interrupted save is ignored, and gone when that step is saved again', async () => {
    await save(1)
    const torn = await folder.begin(2)
    await writeFile(path.join(torn, 'half'), 'x')
    expect((await folder.newest())?.record.globalStep).toBe(1)
    // As earlier versions left it.
    await mkdir(path.join(dir, 'step-000002'))
    await writeFile(path.join(dir, 'step-000002', 'half'), 'x')
    expect((await folder.newest())?.record.globalStep).toBe(1)
    await save(2)
    expect((await folder.newest())?.record.files.map((file) => file.name)).toEqual(['model.safetensors', 'rng-1.bin'])
  })

  it('is the one with the most steps, in numbers and not in letters', async () => {
    for (const step of [999_999, 1_000_000, 20]) await save(step)
    expect((await folder.newest())?.record.globalStep).toBe(1_000_000)
  })

  it('counts when the file system has renamed it in and lost the answer', async () => {
    const at = await folder.begin(7)
    await writeFile(path.join(at, 'model.safetensors'), 'weights')
    await mkdir(path.join(dir, 'step-000007'))
    // Between the moment when the place is free and the rename, so that the rename finds nothing to do.
    const spy = vi.spyOn(PublishingFolder.prototype, 'withdraw').mockImplementation((place) => rename(at, place))
    expect(await folder.complete(record(7), 10)).toBe(path.join(dir, 'step-000007'))
    spy.mockRestore()
    expect(await intact()).toEqual([7])
  })

  it('is none in a folder that is not there', async () => {
    expect(await folder.newest()).toBeNull()
  })
})

describe('the checkpoint that another node has named', () => {
  it('is that one and not the newest, also when it is seen late', async () => {
    await save(1)
    await save(2)
    expect((await folder.at(1)).record.globalStep).toBe(1)
    const late = folder.at(3)
    await save(3)
    expect((await late).record.globalStep).toBe(3)
  })

  it('is an error when it is not to be seen', { timeout: 20_000 }, async () => {
    await expect(folder.at(7)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      details: { file: folder.pathOf(7) },
    })
  })
})

describe('retention', () => {
  it('keeps the newest ones, and clears what interrupted saves left', async () => {
    await mkdir(path.join(dir, 'step-000001'), { recursive: true })
    await mkdir(path.join(dir, 'mine'))
    for (const step of [2, 3, 4, 5]) await save(step, 2)
    expect((await readdir(dir)).sort()).toEqual(['mine', 'step-000004', 'step-000005'])
  })

  it('leaves the folder of a later step, which another start of the run may be writing', async () => {
    await mkdir(path.join(dir, 'step-000009'), { recursive: true })
    for (const step of [2, 3, 4]) await save(step, 2)
    expect((await readdir(dir)).sort()).toEqual(['step-000003', 'step-000004', 'step-000009'])
  })

  it('keeps one more, the best by its metric, for as long as there is no better one', async () => {
    const kept: string[][] = []
    for (const [at, metric] of [null, 0.5, 0.25, 0.25, 0.5, null, 0.75, 0.5, 0.5].entries()) {
      await save(at + 1, 2, metric)
      kept.push((await readdir(dir)).sort().map((name) => name.slice(-1)))
    }
    // Of equals the oldest: 2 stays beside 5. A checkpoint without a metric is never the best.
    const expected = ['1', '12', '23', '234', '245', '256', '67', '78', '789']
    expect(kept.map((names) => names.join(''))).toEqual(expected)
    expect((await folder.newest())?.record.metric).toBe(0.5)
  })

  it('takes the metric of a record from before there were any, or of a damaged one, as none', async () => {
    const [one, two] = [await save(1, 2, 9), await save(2, 2, 8)]
    const text = await readFile(path.join(one, 'checkpoint.json'), 'utf8')
    await writeFile(path.join(one, 'checkpoint.json'), text.replace(/ *"metric": 9,\n/, ''))
    await writeFile(path.join(two, 'checkpoint.json'), '{"metric": 8')
    await save(3, 2, 1)
    await save(4, 1, null)
    expect((await readdir(dir)).sort()).toEqual(['step-000003', 'step-000004'])
  })

  it('reads a record from before there were metrics', async () => {
    const file = path.join(await save(1, 2, 9), 'checkpoint.json')
    await writeFile(file, (await readFile(file, 'utf8')).replace(/ *"metric": 9,\n/, ''))
    expect(await readFile(file, 'utf8')).not.toMatch(/metric/)
    expect((await folder.newest())?.record.metric).toBeNull()
  })

  it('removes nothing before the new one is whole', async () => {
    await save(1, 1)
    const at = await folder.begin(2)
    await mkdir(path.join(at, 'not-a-file'))
    await expect(folder.complete(record(2), 1)).rejects.toThrow('a folder')
    expect((await folder.newest())?.record.globalStep).toBe(1)
  })
})

describe('damage', () => {
  it.each([
    ['shorter', (file: string) => writeFile(file, 'weights'), 'bytes'],
    ['changed', (file: string) => writeFile(file, 'weights of 8'), 'sha256'],
    ['missing', (file: string) => rm(file), 'bytes'],
  ])('a file that is %s is CHECKPOINT_INVALID and named', async (_, harm, field) => {
    const at = await save(7)
    const newest = await folder.newest()
    if (newest === null) throw new Error('no checkpoint')
    await expect(verify(newest)).resolves.toBeUndefined()
    await harm(path.join(at, 'model.safetensors'))
    await expect(verify(newest)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      details: { file: path.join(at, 'model.safetensors'), field },
    })
  })

  it.each([
    ['no JSON', '{"formatVersion": 1', /not JSON/],
    ['a later version', '{"formatVersion": 2}', /later version/],
    ['another thing', '{"formatVersion": 1, "globalStep": -1}', /globalStep/],
  ])('a record that is %s is CHECKPOINT_INVALID', async (_, text, message) => {
    await writeFile(path.join(await save(7), 'checkpoint.json'), text)
    await expect(folder.newest()).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(message),
    })
  })
})

describe('another run', () => {
  const saved = { ...record(1), contract: null, metric: null, lost: [], files: [] }

  it('is refused by the first setting that differs, with what was found and what was expected', () => {
    const mine = { 'run.seed': 0, 'train.batch': { samples: 3 } }
    expect(() => requireSameRun(mine, saved, 'f')).toThrow(
      /field: train\.batch\n {2}found: \{"samples":3\}; expected \{"samples":2\}/,
    )
    expect(() => requireSameRun({ 'run.seed': 0 }, saved, 'f')).toThrow(/train\.batch/)
  })

  it('is not seen where only the order of keys differs', () => {
    const mine = { 'train.batch': { samples: 2 }, 'run.seed': 0 }
    expect(() => requireSameRun(mine, saved, 'f')).not.toThrow()
  })
})

describe('a trainer that was taken for dead', () => {
  /** A trainer with a claim on its run, and somebody who takes the claim over. */
  async function fenced() {
    const publishing = new PublishingFolder(path.join(path.dirname(dir), 'publishing'))
    await publishing.make()
    const mine = new CheckpointFolder(dir, publishing.dir)
    const fence = () => takeAway(publishing.dir, `${publishing.dir}.aside`)
    return { mine, fence, publishing }
  }

  it('saves as before while it holds the run', async () => {
    const { mine } = await fenced()
    folder = mine
    await save(500)
    expect((await new CheckpointFolder(dir).newest())?.record.globalStep).toBe(500)
    expect((await readdir(path.join(dir, 'step-000500'))).sort()).toEqual([
      'checkpoint.json',
      'model.safetensors',
      'rng-1.bin',
    ])
  })

  it('begins no checkpoint, and leaves those of its successor alone', async () => {
    const { mine, fence } = await fenced()
    await fence()
    await save(500)
    await expect(mine.begin(500)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    await expect(mine.abandon(500)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    expect(await intact()).toEqual([500])
  })

  it('writes into no folder of its successor, and completes nothing, wherever it was stopped', async () => {
    const { mine, fence } = await fenced()
    const at = await mine.begin(500)
    const writing = await open(path.join(at, 'model.safetensors'), 'w')
    await fence()
    await save(500)
    await writing.writeFile('late')
    await writing.close()
    await expect(writeFile(path.join(at, 'rng-1.bin'), 'late')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(mine.complete(record(500), 10)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    expect(await intact()).toEqual([500])
    expect((await readdir(path.dirname(dir))).sort()).toEqual(['checkpoints'])
  })

  it('removes no checkpoint, though it had begun to', async () => {
    for (const step of [1, 2]) await save(step)
    const { mine, fence, publishing } = await fenced()
    await writeFile(path.join(await mine.begin(3), 'model.safetensors'), 'weights')
    const withdraw = publishing.withdraw.bind(publishing)
    const spy = vi.spyOn(PublishingFolder.prototype, 'withdraw').mockImplementation(async (folder) => {
      await fence()
      await withdraw(folder)
    })
    await expect(mine.complete(record(3), 1)).rejects.toMatchObject({ code: 'STORE_BUSY' })
    spy.mockRestore()
    // The third was complete before the fence: it is the one that the successor goes on from.
    expect(await intact()).toEqual([1, 2, 3])
  })
})

/** The steps that have a checkpoint, each with its files whole. */
async function intact(): Promise<readonly number[]> {
  const steps = []
  for (const name of (await readdir(dir)).sort()) {
    const text = await readFile(path.join(dir, name, 'checkpoint.json'), 'utf8')
    const found = parseRecord(text, name)
    await verify({ dir: path.join(dir, name), record: found })
    steps.push(found.globalStep)
  }
  return steps
}
