import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual, promisify } from 'node:util'
import { RunConfig } from '../../src/config/schema.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { EventBody } from '../../src/report/events/events.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import type { RoleContext } from '../../src/roles/context.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
/** The Python program of the virtual environment, for scripts in a process of their own. */
export const pythonProgram = path.join(process.env['DRAFTBRIDGE_VENV'] ?? path.join(here, '../../.venv'), 'bin/python')
// Ranks of several runs share the cores of a test machine; threads that spin while they wait would starve each other.
process.env['OMP_WAIT_POLICY'] = 'PASSIVE'

const run = promisify(execFile)

/** A tiny target and feature files of its shape, made once for a test file. */
export async function trainingInputs(dir: string, count = 11): Promise<void> {
  await Promise.all([
    script('make_tiny_target.py', path.join(dir, 'target')),
    script('make_features.py', path.join(dir, 'features'), '--count', String(count)),
  ])
}

/** Five feature files of another seed. */
export async function otherInputs(dir: string): Promise<void> {
  await script('make_features.py', path.join(dir, 'other'), '--count', '5', '--seed', '7')
}

function script(name: string, ...args: string[]): Promise<unknown> {
  return run(pythonProgram, [path.join(here, name), ...args])
}

type Given = { readonly name: string; readonly ranks: 1 | 2 } & Partial<
  Pick<RunConfig['train'], 'epochs' | 'maxSteps' | 'maxCorruptShare'> & {
    save: number
    local: boolean
    retain: boolean
    store: string
    /** Other samples than the eleven: files of another seed, under other ids, in a manifest of their own. */
    other: boolean
    /** Keys of `train` that are set last. */
    train: object
  }
>

/**
 * 11 samples in global batches of 2, windows of 2: 5 micro-steps an epoch, so windows cross epochs, one sample is left
 * over in each, and with an odd number of epochs the last window is a small one.
 */
export function trainingConfig(dir: string, given: Given): RunConfig {
  const { name, ranks, epochs = 3, maxSteps = null, save = 100, local = false, retain = true, store = 'store' } = given
  const { maxCorruptShare = 0, other = false, train = {} } = given
  return RunConfig.parse({
    version: 1,
    run: { id: other ? 'other' : 'test', dir: path.join(dir, name), seed: 5 },
    target: { model: path.join(dir, 'target'), dtype: 'float32' },
    data: { maxLength: 18 },
    features: { source: 'files', files: path.join(dir, other ? 'other' : 'features', '*.ckpt') },
    store: { kind: local ? 'local' : 'shared-dir', root: path.join(dir, store), retain, durability: 'fast' },
    manifest: path.join(dir, store, other ? 'other-manifest' : 'manifest'),
    draft: { vocabSize: 64 },
    train: {
      epochs,
      maxSteps,
      batch: { samples: 2 / ranks },
      accumulate: 2,
      precision: 'fp32',
      ttt: { steps: 3 },
      optimizer: { lr: 1e-3, warmupRatio: 0.2 },
      logInterval: 1,
      save: { every: save, keep: 3 },
      maxCorruptShare,
      ...train,
    },
    launch: { ranksPerNode: ranks, graceSeconds: 2, peerTimeoutSeconds: 20 },
  })
}

export interface Watched extends RoleContext {
  readonly seen: EventBody[]
  readonly abort: AbortController
}

export function watched(onEvent: (body: EventBody) => void = () => undefined): Watched {
  const seen: EventBody[] = []
  const abort = new AbortController()
  const emit = (body: EventBody) => {
    seen.push(body)
    onEvent(body)
  }
  return { clock: systemClock, signal: abort.signal, events: { emit }, seen, abort }
}

/** Until the events in a run folder say that the run has come to this step. */
export async function untilStep(runDir: string, step: number): Promise<void> {
  for (;;) {
    const { events } = await readEvents(runDir)
    if (events.some(({ body }) => body.event === 'train.metrics' && body.step >= step)) return
    await sleep(50)
  }
}

/** The folder of a checkpoint. */
export const checkpointOf = (runDir: string, step: number): string =>
  path.join(runDir, 'checkpoints', `step-${String(step).padStart(6, '0')}`)

/** What a run computed, without what depends on the machine: one entry per optimiser step. */
export function curve({ seen }: Watched) {
  return seen.flatMap((body) => {
    if (body.event !== 'train.metrics') return []
    const { tokensPerSecond: _, dataWaitShare: _wait, tflops: _tflops, peakShare: _share, ...computed } = body
    return [computed]
  })
}

/** A safetensors file, taken apart: the order of keys in its header is not the same in any two processes. */
interface Weights {
  readonly header: unknown
  readonly data: Buffer
}

export async function weights(checkpoint: string): Promise<Readonly<Record<string, Weights>>> {
  const names = ['model.safetensors', 'optimizer.safetensors']
  const read = names.map(async (name): Promise<[string, Weights]> => {
    const bytes = await readFile(path.join(checkpoint, name))
    const end = 8 + Number(bytes.readBigUInt64LE(0))
    return [name, { header: JSON.parse(bytes.toString('utf8', 8, end)), data: bytes.subarray(end) }]
  })
  return Object.fromEntries(await Promise.all(read))
}

/** How many bits of two checkpoints' weights and optimiser states differ. */
export async function differingBits(one: string, other: string): Promise<number> {
  const [left, right] = [await weights(one), await weights(other)]
  let bits = 0
  for (const [name, { header, data }] of Object.entries(left)) {
    const theirs = right[name]
    if (!isDeepStrictEqual(header, theirs?.header) || data.length !== theirs?.data.length)
      return Number.POSITIVE_INFINITY
    for (const [at, byte] of data.entries()) {
      for (let rest = byte ^ (theirs.data[at] ?? 0); rest > 0; rest >>= 1) bits += rest & 1
    }
  }
  return bits
}
