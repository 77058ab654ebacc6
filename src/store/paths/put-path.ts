import type { TensorSet } from '../../bridge/tensor-set.ts'
import { finding } from '../../core/errors.ts'
import type { Generation, RunId, SampleId } from '../../core/ids.ts'
import { type Provenance, SampleFacts, type SampleRef, SCHEMA_VERSION } from '../../core/sample-ref.ts'
import type { ExternFile, WrittenBlob } from '../blobs/blobs.ts'
import { ownerOf } from '../coordination/complete-manifests.ts'
import { SerialQueue } from '../serial-queue.ts'
import type { StoreParts } from '../store-parts.ts'
import { expectNotOwned } from './owned-samples.ts'
import { metadataOf, OWNER_KEY, parsedRef } from './ref-checks.ts'

export interface PutAbout extends SampleFacts {
  readonly runId: RunId
  readonly numTokens: number
  readonly provenance: Provenance
  /** A file that already holds tensors of the set. The store may link to the file, or copy the tensors. */
  readonly extern?: ExternFile
  /** The root of the manifest that will list the sample: its absolute path, links resolved. Default: none will. */
  readonly manifest?: string
  /** Replace also a sample that another complete manifest lists. Default: refuse. */
  readonly replace?: boolean
}

const FACTS = Object.keys(SampleFacts.shape) as (keyof SampleFacts)[]

const factsOf = (about: SampleFacts): SampleFacts =>
  Object.fromEntries(FACTS.flatMap((name) => (about[name] === undefined ? [] : [[name, about[name]]])))

/** Bytes that are reserved for an object's header. */
const HEADER_BYTES = 8192

/** Puts, aborts and quarantines. Those of one sample run one after another, so that its greatest generation stays. */
export class PutPath {
  readonly #parts: StoreParts
  readonly #turns = new SerialQueue<SampleId>()

  constructor(parts: StoreParts) {
    this.#parts = parts
  }

  put(sampleId: SampleId, tensors: TensorSet, about: PutAbout): Promise<SampleRef> {
    return this.#turns.run(sampleId, async () => {
      const { storedGenerations, generations } = this.#parts
      const stored = await storedGenerations.of(sampleId)
      if (about.replace !== true) await expectNotOwned(this.#parts, sampleId, stored, about.manifest)
      // Another producer may have put this sample and freed it: the new generation must be greater than that one too.
      const afterAllProducers = stored.length === 0 && !storedGenerations.alone
      const generation = await generations.next(Math.max(0, ...stored), afterAllProducers)
      const ref = this.#describe(sampleId, generation, tensors, about)
      const { digests } = await this.#write(ref, tensors, about)
      await storedGenerations.added(ref)
      await this.#dropSuperseded(sampleId)
      return { ...ref, digests: { ...digests } }
    })
  }

  /** Removes all stored generations of the sample, after any put of it that is queued. */
  abort(sampleId: SampleId): Promise<void> {
    return this.#turns.run(sampleId, async () => {
      for (const key of await this.#parts.blobs.list(sampleId)) await this.#parts.remove(key)
    })
  }

  quarantine(ref: SampleRef, reason: string): Promise<void> {
    return this.#turns.run(ref.sampleId, () => this.#parts.quarantine(ref, reason))
  }

  async #write(ref: SampleRef, tensors: TensorSet, { extern, manifest }: PutAbout): Promise<WrittenBlob> {
    const { blobs, space } = this.#parts
    const reservation = await space.reserve(tensors.bytes + HEADER_BYTES)
    const owner = manifest === undefined ? {} : { [OWNER_KEY]: ownerOf(manifest) }
    let written: WrittenBlob
    try {
      written = await blobs.write(ref, tensors, { ...metadataOf(ref), ...owner }, extern)
    } catch (error) {
      await reservation.cancel().catch(() => undefined)
      throw error
    }
    await reservation.commit(written.bytes)
    return written
  }

  // All checks of what the caller gave, before a byte is written.
  #describe(sampleId: SampleId, generation: Generation, tensors: TensorSet, about: PutAbout): SampleRef {
    if (tensors.features.length === 0) {
      const fix = 'give it at least one tensor'
      throw finding('FEATURE_INVALID', 'a sample without tensors cannot be put', { field: sampleId, fix })
    }
    return parsedRef({
      schemaVersion: SCHEMA_VERSION,
      runId: about.runId,
      sampleId,
      storeId: this.#parts.id,
      generation,
      features: tensors.features.map((spec) => ({ ...spec, shape: [...spec.shape] })),
      digests: {},
      numTokens: about.numTokens,
      bytes: tensors.bytes,
      ...factsOf(about),
      provenance: { ...about.provenance },
    })
  }

  // Lists the generations after the publish, because another producer may have put the same sample meanwhile. The
  // greatest generation stays.
  async #dropSuperseded(sampleId: SampleId): Promise<void> {
    const stored = await this.#parts.storedGenerations.of(sampleId)
    const newest = Math.max(...stored)
    for (const generation of stored) if (generation < newest) await this.#parts.remove({ sampleId, generation })
  }
}
