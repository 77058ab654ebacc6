import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import type { Python } from '../../../src/bridge/python.ts'
import { RunConfig } from '../../../src/config/schema.ts'
import type { CaptureContract } from '../../../src/core/target-contract.ts'
import { auxLayersFor, draftRecord, requireDraftFor } from '../../../src/roles/evaluate/draft-checkpoint.ts'
import { CheckpointFolder } from '../../../src/train/checkpoints/checkpoint.ts'
import { CHECKPOINT_FORMAT } from '../../../src/train/checkpoints/checkpoint-record.ts'
import { tempDir } from '../../support/temp-dir.ts'

// Only the hash of the target is asked of Python here; the real one is checked wherever a run is evaluated.
const python = { call: async () => ({ hash: 'mine' }) } as unknown as Python

async function checkpointFor(target: string): Promise<string> {
  const folder = new CheckpointFolder(path.join(await tempDir(), 'checkpoints'))
  await writeFile(path.join(await folder.begin(1), 'model.safetensors'), 'weights')
  const source = { runId: 'r', storeId: 's', manifestSha256: null }
  const place = { globalStep: 1, totalSteps: 1, epoch: 0, cursor: 1, worldSize: 1 }
  const identity = { 'target.model': target }
  return folder.complete({ formatVersion: CHECKPOINT_FORMAT, ...place, source, identity }, 1)
}

async function requireFor(dir: string): Promise<void> {
  const record = await draftRecord(dir)
  if (record === null) throw new Error('no record')
  await requireDraftFor(python, 'model', dir, record)
}

it('a checkpoint is measured on the target that it was trained for', async () => {
  await requireFor(await checkpointFor('mine'))
})

it('a checkpoint of another target is refused, whatever its sizes', async () => {
  const dir = await checkpointFor('other')
  const found = expect.stringMatching(/^other; target.model is model \(mine\)/)
  const refused = {
    code: 'CONTRACT_MISMATCH',
    exitCode: 65,
    details: { file: path.join(dir, 'checkpoint.json'), found },
  }
  await expect(requireFor(dir)).rejects.toMatchObject(refused)
})

it('a checkpoint with a changed byte is refused, and the file named', async () => {
  const dir = await checkpointFor('mine')
  const file = path.join(dir, 'model.safetensors')
  await writeFile(file, 'weightz')
  await expect(requireFor(dir)).rejects.toMatchObject({
    code: 'CHECKPOINT_INVALID',
    details: { file, field: 'sha256' },
  })
})

it('an exported folder has no record: its layers are those that it names, or that the architecture takes', async () => {
  const dir = await tempDir()
  expect(await draftRecord(dir)).toBeNull()
  const asked = { call: async () => ({ shape: { numLayers: 8 } }) } as unknown as Python
  const config = RunConfig.parse({ version: 1, target: { model: 'model' } })
  expect(await auxLayersFor(asked, config, dir, null)).toEqual([1, 3, 4])
  const named = { eagle_config: { eagle_aux_hidden_state_layer_ids: [0, 3, 5] } }
  await writeFile(path.join(dir, 'config.json'), JSON.stringify(named))
  expect(await auxLayersFor(asked, config, dir, null)).toEqual([0, 3, 5])
})

it('a checkpoint has the layers of its capture contract', async () => {
  const record = await draftRecord(await checkpointFor('mine'))
  const config = RunConfig.parse({ version: 1, target: { model: 'model' } })
  const contract = { auxLayers: [0, 2, 5] } as unknown as CaptureContract
  if (record === null) throw new Error('no record')
  expect(await auxLayersFor(python, config, 'unread', { ...record, contract })).toEqual([0, 2, 5])
})
