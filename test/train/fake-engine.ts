import { type OpInput, type OpName, ops } from '../../src/bridge/ops.ts'
import type { Python } from '../../src/bridge/python.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'
import { type BatchPlan, batchPlan, type PlanSettings } from '../../src/train/data/batch-plan.ts'
import { LostSamples } from '../../src/train/data/lost-samples.ts'
import type { TrainObserver } from '../../src/train/trainer.ts'

type Reply = (input: never) => unknown

/** What `train.metrics` reports of one step, where a test does not care. */
export const stepFigures = {
  ...{ steps: 1, loss: 1, gradNorm: 1, lr: 1, ploss: [], acc: [], acceptanceRate: [], tokens: 8, lossTokens: 4 },
  ...{ flops: 1000, kernelBuilds: 0 },
}

const noMemory = { parameters: 0, gradients: 0, optimizer: 0, frozen: 0, buffers: 0, batches: 0, host: 0 }

/**
 * Python as the training loop sees it: handles that must be freed, and answers that a test may change. Inputs and answers
 * go through the schemas of the real ops, so that no test rests on a reply that Python could not give.
 */
export class FakeEngine implements Python {
  readonly live = new Set<number>()
  readonly calls: { readonly op: OpName; readonly input: unknown }[] = []
  readonly answers: Partial<Record<OpName, Reply>> = {}
  #next = 1
  #running = 0

  mint(): number {
    const handle = this.#next
    this.#next += 1
    this.live.add(handle)
    return handle
  }

  async call<K extends OpName>(op: K, given: OpInput<K>): Promise<never> {
    const input = ops[op].input.parse(given)
    this.calls.push({ op, input })
    this.#running += 1
    try {
      await turn()
      const answer = this.answers[op]
      return ops[op].output.parse(
        answer === undefined ? this.#answer(op, input) : await answer(input as never),
      ) as never
    } finally {
      this.#running -= 1
    }
  }

  named(op: OpName): readonly unknown[] {
    return this.calls.flatMap((call) => (call.op === op ? [call.input] : []))
  }

  /** Resolves once no call is running and none follows from the earlier ones by itself. */
  async idle(): Promise<void> {
    for (let quiet = 0, seen = -1; quiet < 20; quiet += 1) {
      await turn()
      if (this.#running > 0 || this.calls.length !== seen) quiet = 0
      seen = this.calls.length
    }
  }

  #answer(op: OpName, input: unknown): unknown {
    if (op === 'handle.free') return this.#free((input as OpInput<'handle.free'>).handle)
    if (op === 'train.snapshot') return { handle: this.mint() }
    if (op === 'snapshot.write') return { files: [] }
    if (op === 'batch.build') return { handle: this.mint(), tokens: 1, positions: 1, lossTokens: 1 }
    if (op === 'train.memory') return { ...noMemory, allocated: null, reserved: null }
    return {}
  }

  #free(handle: number): Record<string, never> {
    if (!this.live.delete(handle)) throw new Error(`handle ${handle} freed twice`)
    return {}
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

export function fakeRef(index: number, changes: { numTokens?: number; bytes?: number } = {}): SampleRef {
  const { numTokens = 4, bytes = 8 * numTokens } = changes
  return SampleRef.parse({
    schemaVersion: 1,
    runId: 'run',
    sampleId: `sample-${index}`,
    storeId: 'store',
    generation: 1,
    features: [{ name: 'input_ids', shape: [numTokens], dtype: 'int64' }],
    digests: { input_ids: 'xxh3_64:0123456789abcdef' },
    numTokens,
    bytes,
    provenance: {},
  })
}

/** What one rank trains of these samples: one epoch, one sample a micro-step, unless `changes` say otherwise. */
export function fakePlan(refs: readonly SampleRef[], changes: Partial<PlanSettings> = {}): BatchPlan {
  const usual = { epochs: 1, maxSteps: null, batch: { samples: 1 }, accumulate: 1, shuffle: true, seed: 1 }
  const lengths = refs.map((ref) => ref.numTokens)
  return batchPlan(lengths, { ...usual, worldSize: 1, rank: 0, ...changes })
}

/** An observer that drops what it is told. */
export const deafObserver: TrainObserver = {
  phase: () => undefined,
  metrics: () => undefined,
  watched: () => undefined,
  validation: () => undefined,
  memory: () => undefined,
  checkpoint: () => undefined,
}

/** What checkpoints say of a run, where a test does not care. */
export const fakeRun = {
  formatVersion: 1 as const,
  worldSize: 1,
  source: { runId: 'r', storeId: 's', manifestSha256: null },
  identity: {},
  contract: null,
}

export function fakeLosses(samples: number, share = 0, ahead = 2): LostSamples {
  return new LostSamples({ samples, share, ahead, known: [] })
}
