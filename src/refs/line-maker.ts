import { assertNoTensors } from '../core/no-tensors.ts'
import type { SampleRef } from '../core/sample-ref.ts'
import { RefParser } from './parse-ref.ts'
import { isPlainlyGood, type TemplateSize, templateSize } from './ref-check.ts'
import { type KeyList, provenanceLine, type Shared, type SpecTemplate, templateIndex, toLine } from './ref-line.ts'

const REF_FIELDS = 11
const SPEC_FIELDS = 3

/** Makes the lines of one manifest of refs, and knows the feature templates that they share. */
export class LineMaker {
  readonly #specs: SpecTemplate[]
  readonly #keys: KeyList[]
  readonly #sizes: TemplateSize[]

  constructor({ specs, keys }: Shared) {
    this.#specs = [...specs]
    this.#keys = [...keys]
    this.#sizes = specs.map(templateSize)
  }

  get shared(): Shared {
    return { specs: this.#specs, keys: this.#keys }
  }

  /** @throws REF_INVALID for what carries tensors or is no ref. */
  make(ref: SampleRef): string {
    if (!carriesLittle(ref)) assertNoTensors(ref, `ref of ${String(ref.sampleId)}`)
    const text = JSON.stringify(toLine(ref, templateIndex(this.#specs, ref), provenanceLine(ref, this.#keys)))
    for (const spec of this.#specs.slice(this.#sizes.length)) this.#sizes.push(templateSize(spec))
    // Of the text, not of the ref: what is published is what was looked at.
    if (!isPlainlyGood(JSON.parse(text), text.length, { sizes: this.#sizes, keys: this.#keys })) this.#refuse(text, ref)
    return text
  }

  #refuse(text: string, { runId, storeId, sampleId }: SampleRef): void {
    new RefParser({ runId, storeId, ...this.shared }).line(text, () => `ref of ${String(sampleId)}`)
  }
}

/** Whether a ref has its own fields and nothing beside them, with short plain values. A "no" has to be looked into. */
function carriesLittle({ ...ref }: SampleRef): boolean {
  if (Reflect.ownKeys(ref).length !== REF_FIELDS || !Array.isArray(ref.features)) return false
  if (Reflect.ownKeys(ref.digests).length !== ref.features.length) return false
  return ref.features.every((spec) => Reflect.ownKeys(spec).length === SPEC_FIELDS) && isShort(ref.provenance)
}

function isShort(provenance: SampleRef['provenance']): boolean {
  return Reflect.ownKeys(provenance).every((key) => {
    const value = typeof key === 'string' ? provenance[key] : undefined
    if (typeof value === 'string') return value.length <= 1024
    return value === null || typeof value === 'number' || typeof value === 'boolean'
  })
}
