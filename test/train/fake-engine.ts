import type { OpInput, OpName } from '../../src/bridge/ops.ts'
import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { CodedError, finding } from '../../src/core/errors.ts'
import { Generation, RunId, SampleId, StoreId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { Claim, ClaimedMany, GetOptions, Lease } from '../../src/store/feature-store.ts'
import { LostSamples } from '../../src/train/data/lost-samples.ts'
import type { ConsumerStore } from '../../src/train/data/sample-reader.ts'

type Reply = (input: never) => unknown

/** Python as the training loop sees it: handles that must be freed, and answers that a test may change. */
export class FakeEngine implements Python {
  readonly live = new Set<number>()
  readonly calls: { readonly op: OpName; readonly input: unknown }[] = []
  readonly answers: Partial<Record<OpName, Reply>> = {}
  #next = 1

  mint(): number {
    const handle = this.#next
    this.#next += 1
    this.live.add(handle)
    return handle
  }

  async call<K extends OpName>(op: K, input: OpInput<K>): Promise<never> {
    this.calls.push({ op, input })
    await new Promise((resolve) => setImmediate(resolve))
    const answer = this.answers[op]
    if (answer !== undefined) return (await answer(input as never)) as never
    if (op === 'handle.free') return this.#free((input as OpInput<'handle.free'>).handle) as never
    if (op === 'train.snapshot') return { handle: this.mint() } as never
    if (op === 'batch.build') return { handle: this.mint(), tokens: 1, positions: 1, lossTokens: 1 } as never
    return {} as never
  }

  named(op: OpName): readonly unknown[] {
    return this.calls.flatMap((call) => (call.op === op ? [call.input] : []))
  }

  #free(handle: number): Record<string, never> {
    if (!this.live.delete(handle)) throw new Error(`handle ${handle} freed twice`)
    return {}
  }
}

export function fakeRef(index: number): SampleRef {
  return {
    schemaVersion: 1,
    runId: RunId.parse('run'),
    sampleId: SampleId.parse(`sample-${index}`),
    storeId: StoreId.parse('store'),
    generation: Generation.parse(1),
    strategy: 'eagle3',
    features: [],
    digests: {},
    numTokens: 4,
    bytes: 0,
    provenance: {},
  }
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
    const gone = refs.filter(({ sampleId }) => this.missing.has(sampleId))
    const rest = refs.filter(({ sampleId }) => !this.missing.has(sampleId))
    for (const ref of rest) this.#requireGood(ref)
    return { claims: await Promise.all(rest.map((ref) => this.claim(ref))), busy: [], gone }
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
