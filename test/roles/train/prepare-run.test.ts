import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../../src/config/schema.ts'
import { type SampleRef, SampleRef as SampleRefSchema } from '../../../src/core/sample-ref.ts'
import type { CaptureContract } from '../../../src/core/target-contract.ts'
import { RefList } from '../../../src/refs/manifest.ts'
import { prepareRun, type TrainingData } from '../../../src/roles/train/prepare-run.ts'
import { CHECKPOINT_FORMAT } from '../../../src/train/checkpoints/checkpoint-record.ts'
import { tempDir } from '../../support/temp-dir.ts'

const contract: CaptureContract = {
  target: 'tiny',
  targetHash: 'xxh3_64:0',
  shape: {
    hiddenSize: 8,
    intermediateSize: 16,
    numLayers: 8,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 4,
    vocabSize: 100,
    rmsNormEps: 1e-5,
    ropeTheta: 10_000,
    maxPositions: 64,
    bosId: 1,
    eosIds: [2],
  },
  auxLayers: [1, 3, 4],
  layerConvention: 'output',
  finalNorm: 'post',
  dtype: 'float32',
  maskRule: 'from-file',
  tokenizerHash: null,
  templateHash: null,
}

function ref(index: number, { generation = 1, numTokens = 10, width = 8, digest = '0' } = {}): SampleRef {
  const hash = `xxh3_64:${digest.repeat(16)}`
  return SampleRefSchema.parse({
    schemaVersion: 1,
    runId: 'run',
    sampleId: `sample-${index}`,
    storeId: 'store',
    generation,
    features: [
      { name: 'input_ids', shape: [numTokens], dtype: 'int64' },
      { name: 'loss_mask', shape: [numTokens], dtype: 'int64' },
      { name: 'hidden_state', shape: [numTokens, width], dtype: 'float32' },
      { name: 'aux_hidden_state', shape: [numTokens, 3 * width], dtype: 'float32' },
    ],
    digests: { input_ids: hash, loss_mask: hash, hidden_state: hash, aux_hidden_state: hash },
    numTokens,
    bytes: numTokens * (16 + 16 * width),
    provenance: {},
  })
}

const data = (refs: readonly SampleRef[]): TrainingData => ({
  refs: RefList.of(refs),
  contract,
  countsFiles: ['counts'],
  manifestSha256: null,
})
const eight = Array.from({ length: 8 }, (_, index) => ref(index))

let dir: string
beforeAll(async () => {
  dir = await tempDir()
})

const config = (more: object = {}, draft: object = {}) =>
  RunConfig.parse({
    version: 1,
    run: { dir: path.join(dir, 'run') },
    target: { model: 'tiny' },
    data: { maxLength: 16 },
    draft: { vocabSize: 50, ...draft },
    train: { epochs: 2, batch: { samples: 2 }, ...more },
  })
const alone = { rank: 0, worldSize: 1 }

describe('what makes two runs the same run', () => {
  const identity = async (refs: readonly SampleRef[], more = {}, worldSize = 1) =>
    (await prepareRun(config(more), data(refs), { rank: 0, worldSize })).identity

  it('is the global batch, not how many ranks share it', async () => {
    const one = await identity(eight, { batch: { samples: 4 } })
    expect(await identity(eight, { batch: { samples: 2 } }, 2)).toEqual(one)
    expect(await identity(eight, { batch: { samples: 4 } }, 2)).not.toEqual(one)
  })

  it('is the data, not where and how often they were put', async () => {
    const one = await identity(eight)
    expect(await identity(eight.map((_, index) => ref(index, { generation: 9 })))).toEqual(one)
    expect(await identity([...eight].reverse())).not.toEqual(one)
    expect(await identity([...eight.slice(1), ref(0, { digest: '1' })])).not.toEqual(one)
  })

  it('is not how often it logs and saves', async () => {
    expect(await identity(eight, { logInterval: 3, save: { every: 1 } })).toEqual(await identity(eight))
    expect(await identity(eight, { accumulate: 2 })).not.toEqual(await identity(eight))
  })
})

describe('samples that are held out', () => {
  const others = Array.from({ length: 4 }, (_, index) => ref(100 + index, { numTokens: 20 }))
  const withOthers = (more: Partial<TrainingData> = {}): TrainingData => ({
    ...data(eight),
    validation: { refs: RefList.of(others), contract, ...more },
  })
  const held = { manifest: '/held' }

  it('of a share are not in the plan, on any number of ranks the same ones', async () => {
    const prepare = (worldSize: number, rank: number) =>
      prepareRun(config({ validation: { share: 0.25 }, batch: { samples: 2 / worldSize } }), data(eight), {
        rank,
        worldSize,
      })
    const [alone, first, second] = [await prepare(1, 0), await prepare(2, 0), await prepare(2, 1)]
    const ids = ({ refs }: { refs: { length: number; at(index: number): SampleRef | undefined } }) =>
      Array.from({ length: refs.length }, (_, index) => refs.at(index)?.sampleId)
    expect([ids(alone).length, alone.validation?.refs.length, alone.plan.totalSteps]).toEqual([6, 2, 6])
    for (const other of [first, second]) {
      expect(ids(other)).toEqual(ids(alone))
      expect(other.identity).toEqual(alone.identity)
    }
    const validated = alone.validation === null ? [] : ids({ refs: alone.validation.refs })
    expect([...ids(alone), ...validated].sort()).toEqual(eight.map(({ sampleId }) => sampleId).sort())
  })

  it('leave a run without them what it was', async () => {
    const { identity } = await prepareRun(config(), data(eight), alone)
    expect(Object.keys(identity)).not.toContain('train.validation')
    expect(Object.keys(identity)).not.toContain('train.deterministic')
  })

  it('of a manifest are its samples, at most the limit and cut at maxLength, and all of the others are trained on', async () => {
    const { validation, refs } = await prepareRun(config({ validation: { ...held, limit: 3 } }), withOthers(), alone)
    expect([validation?.refs.length, validation?.lengths, refs.length]).toEqual([3, [16, 16, 16], 8])
  })

  it('must have been captured as those that are trained on', async () => {
    const other = withOthers({ contract: { ...contract, finalNorm: 'pre' } })
    await expect(prepareRun(config({ validation: held }), other, alone)).rejects.toMatchObject({
      code: 'CONTRACT_MISMATCH',
      details: { field: 'finalNorm', found: '"pre"; expected "post"' },
    })
  })

  it('must not be trained on', async () => {
    const shared = withOthers({ refs: RefList.of([...others, ref(3)]) })
    await expect(prepareRun(config({ validation: held }), shared, alone)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'train.validation.manifest', found: expect.stringContaining('sample-3') },
    })
  })

  it('must be given where the config names a manifest of them', async () => {
    await expect(prepareRun(config({ validation: held }), data(eight), alone)).rejects.toMatchObject({
      details: { field: 'train.validation.manifest' },
    })
  })
})

describe('parts that do not fit', () => {
  it('features of another width than the target are CONTRACT_MISMATCH and name the sample', async () => {
    const wrong = prepareRun(config(), data([...eight.slice(1), ref(7, { width: 4 })]), alone)
    await expect(wrong).rejects.toMatchObject({
      code: 'CONTRACT_MISMATCH',
      message: expect.stringMatching(/sample-7 .*\n.*hidden_state\n.*\[10, 4\]; expected \[10, 8\]/),
    })
  })

  it.each([
    ['hidden_size', { hidden_size: 16 }, 'CONTRACT_MISMATCH'],
    ['vocab_size', { vocab_size: 99 }, 'CONTRACT_MISMATCH'],
    ['draft_vocab_size', { draft_vocab_size: 101 }, 'CONTRACT_MISMATCH'],
    ['num_hidden_layers', { num_hidden_layers: 2 }, 'CONFIG_INVALID'],
  ])('a draft config with another %s is refused', async (field, change, code) => {
    const { draft } = await prepareRun(config(), data(eight), alone)
    const file = path.join(dir, `${field}.json`)
    await writeFile(file, JSON.stringify({ ...draft, ...change }))
    const wrong = prepareRun(config({}, { config: file }), data(eight), alone)
    await expect(wrong).rejects.toMatchObject({ code, details: { file, field } })
  })

  it('a draft config that is not there is CONFIG_INVALID', async () => {
    const file = path.join(dir, 'nothing.json')
    await expect(prepareRun(config({}, { config: file }), data(eight), alone)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file },
    })
  })
})

it('a run goes on from its newest checkpoint, and is finished after its last step', async () => {
  const { checkpoints, plan, identity, newest } = await prepareRun(config(), data(eight), alone)
  expect([plan.totalSteps, newest]).toEqual([8, null])
  const save = async (globalStep: number) => {
    await checkpoints.begin(globalStep)
    const source = { runId: 'r', storeId: 's', manifestSha256: null }
    const at = { globalStep, totalSteps: 8, ...plan.position(globalStep) }
    await checkpoints.complete({ formatVersion: CHECKPOINT_FORMAT, worldSize: 1, source, identity, ...at }, 9)
  }
  await save(5)
  expect(await prepareRun(config(), data(eight), alone)).toMatchObject({
    finished: false,
    newest: { record: { epoch: 1, cursor: 5 } },
  })
  await save(8)
  expect((await prepareRun(config(), data(eight), alone)).finished).toBe(true)
})
