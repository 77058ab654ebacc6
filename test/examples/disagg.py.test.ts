import { spawn } from 'node:child_process'
import { access, constants, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Ended, watchedChild } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'
import { differingBits, trainingConfig, trainingInputs } from '../support/training.ts'

const folder = fileURLToPath(new URL('../../examples/disagg', import.meta.url))
const script = path.join(folder, 'run_qwen2.5_7b_eagle3_disagg.sh')
const RUN_MS = 240_000

let dir: string
beforeAll(async () => {
  dir = await tempDir()
  await trainingInputs(dir)
})

const ran = (program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> =>
  watchedChild(spawn(program, args, { env: { ...process.env, ...env } })).ended
const outcome = ({ code, stderr }: Ended): string => (code === 0 ? 'well' : stderr)

describe('the driver on the library', () => {
  const driver = (file: string, env: NodeJS.ProcessEnv, ...more: string[]): Promise<Ended> =>
    ran('node', ['--import', 'tsx', path.join(folder, 'run-disagg-eagle3.ts'), '--config', file, ...more], env)

  async function configOf(name: string): Promise<string> {
    const file = path.join(dir, `${name}.json`)
    await writeFile(file, JSON.stringify(trainingConfig(dir, { name, ranks: 1, store: 'driver' })))
    return file
  }

  it('as producer and consumer computes what it computes colocated, at every step', { timeout: RUN_MS }, async () => {
    const file = await configOf('disagg')
    const job = { RCLI_NUM_NODES: '2' }
    const [consumer, producer] = await Promise.all([
      driver(file, { ...job, RCLI_NODE_RANK: '1' }),
      driver(file, { ...job, RCLI_NODE_RANK: '0' }),
    ])
    expect([producer, consumer].map(outcome)).toEqual(['well', 'well'])
    const colocated = await driver(await configOf('colocated'), {}, '--role', 'colocated')
    expect(outcome(colocated)).toBe('well')
    expect(colocated.stdout.trim().split('\n')).toHaveLength(8)
    expect(consumer.stdout).toBe(colocated.stdout)
  })

  it('says what is missing, with the exit status of the command line', async () => {
    const { code, stderr } = await driver(await configOf('none'), {})
    expect([code, stderr]).toEqual([64, expect.stringContaining('the role of this process is not set')])
  })
})

describe('the script for rcli', () => {
  const settings = {
    MODEL: '',
    FEATURES: '',
    TARGET_DTYPE: 'float32',
    PRECISION: 'fp32',
    MAX_LENGTH: '18',
    EPOCHS: '2',
    TTT: '3',
    DRAFT_VOCAB: '64',
    LOG_INTERVAL: '4',
    LR: '1e-3',
  }
  const node = (shared: string, env: NodeJS.ProcessEnv, ...more: string[]): Promise<Ended> => {
    const inputs = { MODEL: path.join(dir, 'target'), FEATURES: path.join(dir, 'features', '*.ckpt') }
    return ran(script, more, { ...settings, ...inputs, SHARED: path.join(dir, shared), ...env })
  }

  it('is a program, and says which setting is missing', async () => {
    await access(script, constants.X_OK)
    const none = await node('none', { FEATURES: '' })
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('CONVERSATIONS')])
    const shared = await node('none', { SHARED: '' })
    expect([shared.code !== 0, shared.stderr]).toEqual([true, expect.stringContaining('set SHARED')])
  })

  it('run once per node ends with the bits of a colocated run', { timeout: RUN_MS }, async () => {
    const ended = await Promise.all(
      [0, 1].map((rank) => node('nodes', { RCLI_NODE_RANK: String(rank), RCLI_NUM_NODES: '2' })),
    )
    expect(ended.map(outcome)).toEqual(['well', 'well'])
    expect(outcome(await node('colocated', {}, '--role', 'colocated'))).toBe('well')
    const last = (shared: string) => path.join(dir, shared, 'run', 'checkpoints', 'step-000022')
    expect(await differingBits(last('nodes'), last('colocated'))).toBe(0)
  })
})
