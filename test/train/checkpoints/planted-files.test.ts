import { rm, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { draftRecord } from '../../../src/roles/evaluate/draft-checkpoint.ts'
import { CheckpointFolder, verify } from '../../../src/train/checkpoints/checkpoint.ts'
import { plantings } from '../../support/planted.ts'
import { tempDir } from '../../support/temp-dir.ts'

const LARGE = 10 * 1024 ** 3
const WEIGHTS = 'weights.bin'
const position = {
  formatVersion: 1 as const,
  globalStep: 1,
  totalSteps: 2,
  epoch: 0,
  cursor: 1,
  worldSize: 1,
  source: { runId: 'run', storeId: 'store', manifestSha256: null },
  identity: {},
}

async function saved() {
  const folder = new CheckpointFolder(await tempDir())
  await writeFile(path.join(await folder.begin(1), WEIGHTS), 'weights')
  const dir = await folder.complete(position, 2)
  const checkpoint = await folder.newest()
  if (checkpoint === null) throw new Error('no checkpoint')
  return { folder, dir, checkpoint }
}
const invalid = (file: string, found: string) => ({
  code: 'CHECKPOINT_INVALID',
  details: { file, found: expect.stringContaining(found), fix: expect.stringContaining('remove that checkpoint') },
})

describe.each(Object.entries(plantings))('%s', (_, { plant, found }) => {
  it('in place of the record or of a file of a checkpoint is refused', async () => {
    const { folder, dir, checkpoint } = await saved()
    const [record, weights] = [path.join(dir, 'checkpoint.json'), path.join(dir, WEIGHTS)]
    await rm(weights)
    await using _weights = await plant(weights)
    await expect(verify(checkpoint)).rejects.toMatchObject(invalid(weights, found))
    await rm(record)
    await using _record = await plant(record)
    await expect(folder.newest()).rejects.toMatchObject(invalid(record, found))
    await expect(draftRecord(dir)).rejects.toMatchObject(invalid(record, found))
  })

  it('beside the files of a save that is under way ends it', async () => {
    const folder = new CheckpointFolder(await tempDir())
    const file = path.join(await folder.begin(1), WEIGHTS)
    await using _planted = await plant(file)
    await expect(folder.complete(position, 2)).rejects.toMatchObject(invalid(file, found))
    expect(await folder.newest()).toBe(null)
  })
})

it('a record or a file that has grown to 10 GB is refused, and not read', async () => {
  const { folder, dir, checkpoint } = await saved()
  const [record, weights] = [path.join(dir, 'checkpoint.json'), path.join(dir, WEIGHTS)]
  await truncate(weights, LARGE)
  await expect(verify(checkpoint)).rejects.toMatchObject(invalid(weights, `${LARGE} bytes; expected 7`))
  await truncate(record, LARGE)
  await expect(folder.newest()).rejects.toMatchObject(invalid(record, String(LARGE)))
})
