import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { CodedError } from '../../src/core/errors.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-config-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

async function load(text: string, env: NodeJS.ProcessEnv = {}, sets: string[] = []) {
  const file = path.join(folder, 'draftbridge.yaml')
  await writeFile(file, text)
  return loadConfig({ file, env, sets })
}

/** The text of the error, with the folder cut away. */
async function errorText(text: string, env: NodeJS.ProcessEnv = {}, sets: string[] = []): Promise<string> {
  const error: unknown = await load(text, env, sets).catch((thrown: unknown) => thrown)
  if (!(error instanceof CodedError)) throw new Error(`expected a CodedError, got ${String(error)}`)
  expect(error.code).toBe('CONFIG_INVALID')
  expect(error.exitCode).toBe(64)
  return error.message.replaceAll(`${folder}/`, '')
}

const MINIMAL = 'version: 1\ntarget: { model: m.gguf }\n'

describe('layers', () => {
  it('fills every key from the schema when the file names only the target', async () => {
    const config = await load(MINIMAL)
    expect(config.train.optimizer.lr).toBe(1e-4)
    expect(config.train.batch).toEqual({ samples: 1 })
    expect(config.eval.steps).toEqual([3, 5, 7])
  })

  it('lets the file beat defaults, the environment beat the file, and --set beat all', async () => {
    const file = `${MINIMAL}train: { epochs: 2, logInterval: 2, accumulate: 2 }\n`
    const env = { DRAFTBRIDGE_TRAIN_LOG_INTERVAL: '3', DRAFTBRIDGE_TRAIN_ACCUMULATE: '3' }
    const { train } = await load(file, env, ['train.accumulate=4', 'train.accumulate=5'])
    expect([train.epochs, train.logInterval, train.accumulate, train.prefetch]).toEqual([2, 3, 5, 2])
  })

  it('reads nested environment keys with and without underscores between words', async () => {
    const { train, data } = await load(MINIMAL, {
      DRAFTBRIDGE_TRAIN_OPTIMIZER_LR: '1e-3',
      DRAFTBRIDGE_TRAIN_OPTIMIZER_WEIGHTDECAY: '0.5',
      DRAFTBRIDGE_DATA_MAX_LENGTH: '99',
    })
    expect([train.optimizer.lr, train.optimizer.weightDecay, data.maxLength]).toEqual([1e-3, 0.5, 99])
  })

  it('accepts variables with the prefix that are not config keys: its own others, and those of Kubernetes', async () => {
    const own = { DRAFTBRIDGE_PYTHON: '/usr/bin/python3', DRAFTBRIDGE_VENV: '/v', DRAFTBRIDGE_TEST_COUNTS: 'x' }
    const service = {
      DRAFTBRIDGE_SERVICE_HOST: '10.0.0.1',
      DRAFTBRIDGE_TRAIN_SERVICE_PORT_HTTP: '80',
      DRAFTBRIDGE_PORT: 'tcp://10.0.0.1:80',
      DRAFTBRIDGE_TRAIN_PORT_80_TCP_ADDR: '10.0.0.1',
    }
    const config = await load(MINIMAL, { ...own, ...service })
    expect(config.run.id).toBe('demo')
  })

  it.each([
    ['DRAFTBRIDGE_TRIAN_EPOCHS', 'DRAFTBRIDGE_TRAIN_EPOCHS'],
    ['DRAFTBRIDGE_TRAIN_EPOCH', 'DRAFTBRIDGE_TRAIN_EPOCHS'],
    ['DRAFTBRIDGE_EPOCHS', undefined],
    ['DRAFTBRIDGE_PYHTON', 'DRAFTBRIDGE_PYTHON'],
    ['DRAFTBRIDGE_STOREKEYS', 'DRAFTBRIDGE_STORE_KEY'],
  ])('rejects the unknown variable %s', async (name, meant) => {
    const text = await errorText(MINIMAL, { [name]: '1' })
    expect(text).toContain(
      `${name}\n    file:     environment, ${name}\n    found:    a variable that sets no config key`,
    )
    expect(text).toContain(meant === undefined ? 'a name such as DRAFTBRIDGE_TRAIN_EPOCHS' : `did you mean ${meant}?`)
  })

  it('reads --set values as YAML, and as text where only text fits', async () => {
    const config = await load(MINIMAL, {}, ['eval.steps=[2, 4]', 'run.id=007', 'data.limit=null', 'store.retain=false'])
    expect(config.eval.steps).toEqual([2, 4])
    expect(config.run.id).toBe('007')
    expect(config.data.limit).toBeNull()
    expect(config.store.retain).toBe(false)
  })

  it('replaces the choice of a batch instead of mixing two choices', async () => {
    const { train } = await load(`${MINIMAL}train: { batch: { samples: 2 } }\n`, {}, ['train.batch.tokens=8192'])
    expect(train.batch).toEqual({ tokens: 8192 })
  })

  it('reads JSON, and takes a section with only comments under it as empty', async () => {
    expect((await load('{"version": 1, "target": {"model": "m"}, "run": {"seed": 7}}')).run.seed).toBe(7)
    expect((await load(`${MINIMAL}train:\n  # epochs: 3\n`)).train.epochs).toBe(10)
  })
})

describe('paths', () => {
  it('start at the folder of the config file, not at the current folder', async () => {
    const config = await load(`${MINIMAL}features: { source: files, files: "in/**/*.ckpt*" }\nmanifest: ../m\n`)
    expect(config.target.model).toBe(path.join(folder, 'm.gguf'))
    expect(config.run.dir).toBe(path.join(folder, 'runs/demo'))
    expect(config.store.root).toBe(path.join(folder, 'features'))
    expect(config.features.files).toBe(path.join(folder, 'in/**/*.ckpt*'))
    expect(config.manifest).toBe(path.join(path.dirname(folder), 'm'))
    expect(config.draft.config).toBe('auto')
    expect(config.eval.prompts).toBeNull()
  })

  it('expand ~ and variables, in paths only', async () => {
    const env = { HOME: '/home/ann', MODELS: '/models' }
    const text = `version: 1\ntarget: { model: '\${MODELS}/a.gguf' }\nstore: { root: ~/features }\nrun: { dir: '~' }\n`
    const config = await load(text, env)
    expect(config.run.dir).toBe('/home/ann')
    expect(config.target.model).toBe('/models/a.gguf')
    expect(config.store.root).toBe('/home/ann/features')
  })

  it('name the variable that is not set', async () => {
    const text = await errorText(`version: 1\ntarget:\n  model: \${NOWHERE}/a.gguf\n`)
    expect(text).toContain('target.model')
    expect(text).toContain('draftbridge.yaml:3:3')
    expect(text).toContain('NOWHERE is not set')
  })
})

describe('errors', () => {
  it('list every problem at once, each with line, column, the value found and the values allowed', async () => {
    const text = await errorText(`version: 1
target:
  model: m
  dtype: bf16
train:
  epochs: ten
  optimizer: { lr: -1 }
run:
  id: a/b
`)
    expect(text).toContain('4 problems')
    expect(text).toContain('target.dtype\n    file:     draftbridge.yaml:4:3\n    found:    "bf16"\n')
    expect(text).toContain('expected: one of float32 | bfloat16 | float16')
    expect(text).toContain('draftbridge.yaml:6:3\n    found:    "ten"\n    expected: a whole number from 1 to 1000000')
    expect(text).toContain('draftbridge.yaml:7:16\n    found:    -1\n    expected: a number above 0')
    expect(text).toContain('draftbridge.yaml:9:3')
  })

  it('suggest the right key for a mistyped key', async () => {
    const text = await errorText(`${MINIMAL}train:\n  epoch: 3\n`)
    expect(text).toContain('train.epoch\n    file:     draftbridge.yaml:4:3\n    found:    an unknown key')
    expect(text).toContain('did you mean train.epochs?')
    expect(await errorText(`${MINIMAL}trian: {}\n`)).toContain('did you mean train?')
    expect(await errorText(`${MINIMAL}train: { batch: { sample: 1 } }\n`)).toContain(
      'did you mean train.batch.samples?',
    )
  })

  it('list all keys of the section when no key is similar', async () => {
    expect(await errorText(`${MINIMAL}store: { zzzzzz: 1 }\n`)).toContain('expected: one of kind, root, retain')
  })

  it('name the flag or the variable that set the value, not the file', async () => {
    expect(await errorText(MINIMAL, {}, ['train.epochs=0'])).toContain('file:     --set train.epochs=0')
    expect(await errorText(MINIMAL, { DRAFTBRIDGE_TRAIN_EPOCHS: 'x' })).toContain(
      'environment, DRAFTBRIDGE_TRAIN_EPOCHS',
    )
    expect(await errorText(MINIMAL, {}, ['train.epoch=1'])).toContain('did you mean train.epochs?')
    const section = await errorText(MINIMAL, {}, ['trian.epochs=3'])
    expect(section).toContain('trian\n    file:     --set trian.epochs=3')
    expect(section).toContain('did you mean train?')
    const key = await errorText(MINIMAL, {}, [`stor.auth.key=${'ab'.repeat(32)}`])
    expect(key).toContain('file:     --set stor.auth.key=...\n')
    expect(await errorText(`${MINIMAL}trian: {}\n`, {}, ['trian.epochs=3'])).toContain('draftbridge.yaml:3:1')
    const half = await errorText(MINIMAL, { DRAFTBRIDGE_TRAIN_VALIDATION_EVERY: '5' })
    expect(half).toContain('train.validation\n    file:     environment, DRAFTBRIDGE_TRAIN_VALIDATION_EVERY')
    expect(await errorText(MINIMAL, {}, ['train.epochs'])).toContain('expected: --set section.key=value')
    const env = await errorText(MINIMAL, { DRAFTBRIDGE_TRAIN_EPOCH: '1' })
    expect(env).toContain('did you mean DRAFTBRIDGE_TRAIN_EPOCHS?')
  })

  it('describe the format of a text in words', async () => {
    const quota = await errorText(MINIMAL, {}, ['store.quota=2TB'])
    expect(quota).toContain('or bytes such as 2TiB (units B, KiB, MiB, GiB, TiB), or null')
    expect(quota).not.toContain('^')
    const rendezvous = await errorText(MINIMAL, {}, ['launch.rendezvous=here'])
    expect(rendezvous).toContain('expected: host and port, such as 10.0.0.1:29500, or null')
  })

  it('show line, column and the code of a YAML mistake', async () => {
    const text = await errorText('version: 1\ntarget:\n  model: "open\n  dtype: x\n')
    expect(text).toContain('the config is not valid YAML')
    expect(text).toMatch(/draftbridge\.yaml:\d+:\d+/)
    expect(text).toContain('  3 |   model: "open\n')
    expect(text).toMatch(/\n {4}\| +\^\n/)
  })

  it('of a missing file say how to create one', async () => {
    const error: unknown = await loadConfig({ file: path.join(folder, 'no.yaml'), env: {} }).catch((e: unknown) => e)
    expect(String(error)).toContain('does not exist')
    expect(String(error)).toContain('draftbridge init')
  })

  it('ask for the target and the version in an empty file', async () => {
    const text = await errorText('')
    expect(text).toContain('(the whole file)')
    expect(await errorText('version: 2\ntarget: { model: m }\n')).toContain('expected: 1')
    expect(await errorText('version: 1\n')).toContain('target')
  })
})

describe('settings of the training', () => {
  const train = async (text: string, sets: string[] = []) => (await load(`${MINIMAL}train: ${text}\n`, {}, sets)).train

  it('have defaults: no validation, no TensorBoard, not deterministic, but spikes are reported', async () => {
    const { validation, spikes, tensorboard, deterministic } = await train('{}')
    expect([validation, spikes, tensorboard, deterministic]).toEqual([null, { factor: 10 }, false, false])
    expect((await train('{ spikes: null }')).spikes).toBeNull()
  })

  it('keep the other keys of a section that may also be null when one is set', async () => {
    const sets = ['train.validation.share=0.02', 'train.validation.every=50', 'train.spikes.factor=5']
    const { validation, spikes } = await train('{ validation: { limit: 9 } }', sets)
    expect(validation).toEqual({ share: 0.02, manifest: null, every: 50, limit: 9 })
    expect(spikes).toEqual({ factor: 5 })
    expect((await train('{ validation: null }', sets)).validation).toMatchObject({ share: 0.02, every: 50 })
  })

  it('resolve the path of a validation manifest', async () => {
    const { validation } = await train('{ validation: { manifest: held/out } }')
    expect(validation?.manifest).toBe(path.join(folder, 'held/out'))
  })

  it.each([
    ['{ validation: {} }', /train\.validation\n.*\n.*neither share nor manifest/],
    ['{ validation: { share: 0.1, manifest: m } }', /both share and manifest/],
    ['{ validation: { share: 1 } }', /train\.validation\.share/],
    ['{ validation: { share: 0 } }', /train\.validation\.share/],
    ['{ validation: { manifest: ./manifest } }', /train\.validation\.manifest\n.*\n.*trained on/],
    ['{ validation: { share: 0.1, evry: 5 } }', /did you mean train\.validation\.every\?/],
    ['{ deterministic: true, unroll: fused }', /train\.unroll\n.*\n.*fused, with train\.deterministic/],
    ['{ spikes: { factor: 0 } }', /train\.spikes\.factor/],
  ])('%s is rejected, with the key named', async (text, message) => {
    expect(await errorText(`${MINIMAL}train: ${text}\n`)).toMatch(message)
  })

  it('a validation manifest does not go with a local store', async () => {
    const text = `${MINIMAL}store: { kind: local }\ntrain: { validation: { manifest: held } }\n`
    expect(await errorText(text)).toContain('share: a local store has no manifests')
  })
})

it('more nodes cannot produce than the job has', async () => {
  const text = await errorText(`${MINIMAL}launch: { nodes: 2, producers: 3 }\n`)
  expect(text).toContain('launch.producers\n    file:     draftbridge.yaml:3:21\n    found:    3\n')
  const { launch } = await load(`${MINIMAL}launch: { nodes: 2, producers: 2, rendezvous: "10.0.0.1:29500" }\n`)
  expect(launch).toMatchObject({ nodes: 2, producers: 2, rendezvous: '10.0.0.1:29500' })
})

it('several processes do not go with a target that takes all GPUs', async () => {
  const text = 'version: 1\ntarget: { model: m, devices: all }\nlaunch: { processes: 2 }\n'
  expect(await errorText(text)).toContain('launch.processes\n    file:     draftbridge.yaml:3:11\n    found:    2\n')
  expect((await load(text.replace('2 }', 'auto }'))).launch.processes).toBe('auto')
})

describe('store.retain: false', () => {
  const once = `${MINIMAL}store: { retain: false }\n`
  const file = () => path.join(folder, 'draftbridge.yaml')

  it('with more than one epoch fails for a role that trains from the store, and names both keys', async () => {
    await load(once)
    const error: unknown = await loadConfig({ file: file(), env: {}, consumes: () => true }).catch((e: unknown) => e)
    expect(String(error)).toMatch(/store\.retain\n.*draftbridge\.yaml:3:10\n.*found: +false, with train\.epochs 10\n/)
    expect(String(error)).toContain('expected: true; or set train.epochs to 1')
  })

  it('with one epoch, or for another role, is accepted', async () => {
    expect((await load(once)).store.retain).toBe(false)
    const { store } = await loadConfig({ file: file(), env: {}, sets: ['train.epochs=1'], consumes: () => true })
    expect(store.retain).toBe(false)
  })
})
