import { type OpInput, type OpName, ops } from '../../src/bridge/ops.ts'
import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { CodedError, finding, hasCode } from '../../src/core/errors.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'
import type { Claim, ClaimedMany, GetOptions, Lease } from '../../src/store/feature-store.ts'
import { LostSamples } from '../../src/train/data/lost-samples.ts'
import type { ConsumerStore } from '../../src/train/data/sample-reader.ts'

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
    strategy: 'eagle3',
    features: [{ name: 'input_ids', shape: [numTokens], dtype: 'int64' }],
    digests: { input_ids: 'xxh3_64:0123456789abcdef' },
    numTokens,
    bytes,
    provenance: {},
  })
}

/** A store whose leases and claims are counted, and which lacks or has damaged the samples that it is told to. */
export class FakeStore implements ConsumerStore {
  readonly retain: boolean
  readonly leased: string[] = []
  readonly gotten: string[] = []
  /** One entry for each call, with the rows that it asked for. */
  readonly reads: { readonly samples: readonly string[]; readonly rows: number | undefined }[] = []
  readonly missing = new Set<string>()
  readonly damaged = new Set<string>()
  readonly quarantined: string[] = []
  readonly acknowledged: string[] = []
  readonly #python: FakeEngine

  constructor(python: FakeEngine, retain = true) {
    this.retain = retain
    this.#python = python
  }

  async getMany(refs: readonly SampleRef[], { rows }: GetOptions = {}): Promise<readonly Lease[]> {
    this.reads.push({ samples: refs.map(({ sampleId }) => sampleId), rows: rows?.end })
    for (const ref of refs) this.#requireGood(ref)
    return refs.map((ref) => this.#hold(ref))
  }

  async get(ref: SampleRef): Promise<Lease> {
    this.#requireGood(ref)
    return this.#hold(ref)
  }

  async claimMany(refs: readonly SampleRef[]): Promise<ClaimedMany> {
    const outcomes = await Promise.allSettled(refs.map((ref) => this.claim(ref)))
    const claims = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    const errors = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined))
    const damaged = errors.find((error) => hasCode(error, 'SAMPLE_CORRUPT'))
    if (damaged !== undefined) {
      for (const claim of claims) await claim[Symbol.asyncDispose]()
      throw damaged
    }
    const failed = (code: 'STORE_BUSY' | 'SAMPLE_NOT_FOUND') => refs.filter((_, at) => hasCode(errors[at], code))
    return { claims, busy: failed('STORE_BUSY'), gone: failed('SAMPLE_NOT_FOUND') }
  }

  async claim(ref: SampleRef): Promise<Claim> {
    this.#requireGood(ref)
    if (this.leased.includes(ref.sampleId)) throw finding('STORE_BUSY', 'claimed', {})
    const lease = this.#hold(ref)
    const acknowledge = async () => {
      this.acknowledged.push(ref.sampleId)
      this.missing.add(ref.sampleId)
      await lease[Symbol.asyncDispose]()
    }
    return { ...lease, acknowledge }
  }

  async quarantine({ sampleId }: SampleRef): Promise<void> {
    this.quarantined.push(sampleId)
    this.damaged.delete(sampleId)
    this.missing.add(sampleId)
  }

  #requireGood({ sampleId, generation }: SampleRef): void {
    if (this.damaged.has(sampleId)) throw finding('SAMPLE_CORRUPT', 'damaged', { file: sampleId })
    if (this.missing.has(sampleId)) throw new CodedError('SAMPLE_NOT_FOUND', 'gone', { sampleId, generation })
  }

  #hold(ref: SampleRef): Lease {
    const { sampleId } = ref
    const tensors = new TensorSet(this.#python, { handle: this.#python.mint(), features: [], bytes: 0 })
    this.gotten.push(sampleId)
    this.leased.push(sampleId)
    let held = true
    const drop = async () => {
      if (held) this.leased.splice(this.leased.indexOf(sampleId), 1)
      held = false
      await tensors[Symbol.asyncDispose]()
    }
    return { ref, tensors, [Symbol.asyncDispose]: drop }
  }
}

export function fakeLosses(samples: number, share = 0, ahead = 2): LostSamples {
  return new LostSamples({ samples, share, ahead, known: [] })
}
