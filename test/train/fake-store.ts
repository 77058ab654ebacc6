import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { CodedError, finding, hasCode } from '../../src/core/errors.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { Claim, ClaimedMany, GetOptions, Lease } from '../../src/store/feature-store.ts'
import type { ConsumerStore } from '../../src/train/data/sample-reader.ts'
import type { FakeEngine } from './fake-engine.ts'

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
