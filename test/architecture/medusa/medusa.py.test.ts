// A draft architecture that only this folder knows goes the whole way: capture, manifest, training, a kill, resume, eval.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, expect, it } from 'vitest'
import type { Python } from '../../../src/bridge/python.ts'
import type { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import { evaluate } from '../../../src/roles/evaluate/evaluate.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { expectNoHandles } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { curve, differingBits, trainingInputs, watched } from '../../support/training.ts'
import { installMedusa } from './medusa.ts'
import { medusaConfig, trainMedusa } from './medusa-run.ts'

const MINUTES = 600_000
let dir: string
let python: Python
const whole = watched()
let checkpoint: string

/** Tokens that follow a rule, so that there is something to learn. */
const conversation = (index: number) => ({
  id: `talk-${index}`,
  input_ids: Array.from({ length: 22 }, (_, at) => 10 + ((index + 3 * at) % 40)),
  loss_start: 4,
})
const lines = (count: number) =>
  Array.from({ length: count }, (_, index) => `${JSON.stringify(conversation(index))}\n`).join('')

/** The captured samples as feature files, one safetensors file each, their names in the order of the manifest. */
async function featureFiles(): Promise<void> {
  const { store, manifest } = medusaConfig(dir, 'any')
  const { refs } = await readRefManifest({ dir: manifest })
  const objects = await readdir(path.join(store.root, 'objects'), { recursive: true })
  await mkdir(path.join(dir, 'files'))
  for (const { sampleId } of refs) {
    const object = objects.find((name) => path.basename(name).startsWith(`${sampleId}.`))
    await cp(path.join(store.root, 'objects', object ?? sampleId), path.join(dir, 'files', `${sampleId}.safetensors`))
  }
}

beforeAll(async () => {
  dir = await tempDir()
  python = await installMedusa()
  await trainingInputs(dir, 1)
  await writeFile(path.join(dir, 'conversations.jsonl'), lines(10))
  await writeFile(path.join(dir, 'prompts.jsonl'), lines(3))
  await produce(medusaConfig(dir, 'producer'), watched())
  checkpoint = (await trainMedusa(python, medusaConfig(dir, 'whole'), whole)).checkpoint
}, MINUTES)
afterEach(expectNoHandles)

it('captures the states that the architecture asks for, of the layers that it chooses, and nothing else', async () => {
  const { refs, contract } = await readRefManifest({ dir: medusaConfig(dir, 'any').manifest })
  expect(contract.auxLayers).toEqual([contract.shape.numLayers / 2])
  const [ref] = refs
  expect(ref?.features.map(({ name, shape }) => [name, shape])).toEqual([
    ['input_ids', [22]],
    ['loss_mask', [22]],
    ['layer_state', [22, contract.shape.hiddenSize]],
  ])
})

it('trains: the loss of each of its three heads falls, and held-out samples are validated', async () => {
  const steps = curve(whole)
  const [first, last] = [steps.at(0), steps.at(-1)]
  expect([steps.length, first?.ploss.length]).toEqual([8, 3])
  for (const [head, loss] of (last?.ploss ?? []).entries()) expect(loss ?? 0).toBeLessThan(first?.ploss[head] ?? 0)
  const validations = whole.seen.filter(({ event }) => event === 'train.validation')
  expect(validations).toHaveLength(2)
  const config = JSON.parse(await readFile(path.join(checkpoint, 'config.json'), 'utf8'))
  expect(config).toMatchObject({ architectures: ['MedusaForTests'], num_heads: 3 })
})

it('ingests feature files of its own layout unchanged, and trains on them', { timeout: MINUTES }, async () => {
  const config = (name: string): RunConfig => {
    const { run, store, features, ...rest } = medusaConfig(dir, name)
    const files = { ...features, source: 'files' as const, files: path.join(dir, 'files') }
    return {
      ...rest,
      run: { ...run, dir: path.join(dir, `ingest-${name}`) },
      features: files,
      store: { ...store, root: path.join(dir, 'ingested') },
      manifest: path.join(dir, 'ingested/manifest'),
    }
  }
  await featureFiles()
  await produce(config('producer'), watched())
  const [captured, ingested] = await Promise.all(
    [medusaConfig(dir, 'any'), config('any')].map(
      async ({ manifest }) => (await readRefManifest({ dir: manifest })).refs,
    ),
  )
  expect(ingested?.map(({ features }) => features)).toEqual(captured?.map(({ features }) => features))
  const context = watched()
  await trainMedusa(python, config('consumer'), context)
  const steps = curve(context)
  expect(steps).toHaveLength(8)
  expect(steps.at(-1)?.ploss[0]).toBeLessThan(steps[0]?.ploss[0] ?? 0)
})

it('goes on after a SIGKILL from its last checkpoint, and ends with the same bits', { timeout: MINUTES }, async () => {
  const program = fileURLToPath(new URL('killed-run.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', program, dir], { stdio: 'inherit' })
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
  const resumed = watched()
  const outcome = await trainMedusa(python, medusaConfig(dir, 'killed'), resumed)
  expect(curve(resumed)).toEqual(curve(whole).slice(4))
  expect(await differingBits(outcome.checkpoint, checkpoint)).toBe(0)
})

it('decodes without changing a token, and its guesses are accepted now and then', { timeout: MINUTES }, async () => {
  const report = await evaluate(medusaConfig(dir, 'whole'), { draft: checkpoint }, watched())
  expect(report.lossless).toBe(true)
  for (const steps of ['1', '3', '5']) expect(report.tau[steps]).toBeGreaterThanOrEqual(1)
})

it('is refused where the config names another architecture', async () => {
  const config = medusaConfig(dir, 'whole')
  const other = { ...config, draft: { ...config.draft, architecture: 'eagle3' } }
  await expect(evaluate(other, { draft: checkpoint }, watched())).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  const unknown = { ...config, draft: { ...config.draft, architecture: 'medusa-for-test' } }
  await expect(trainMedusa(python, unknown, watched())).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    details: { field: 'draft.architecture', fix: 'did you mean medusa-for-tests?' },
  })
})
