import { assertNoTensors } from '../../core/no-tensors.ts'
import { isSmallPlainRef } from '../../core/plain-ref.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { RefParser } from './parse-ref.ts'
import { isPlainlyGood, type TemplateSize, templateSize } from './ref-check.ts'
import { type KeyList, provenanceLine, type Shared, type SpecTemplate, templateIndex, toLine } from './ref-line.ts'

/** Turns refs into the lines of one manifest. Collects the feature templates that the lines share. */
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

  /** @throws REF_INVALID for a value that contains tensors or is no ref. */
  make(ref: SampleRef): string {
    if (!isSmallPlainRef(ref)) assertNoTensors(ref, `ref of ${String(ref.sampleId)}`)
    const text = JSON.stringify(toLine(ref, templateIndex(this.#specs, ref), provenanceLine(ref, this.#keys)))
    for (const spec of this.#specs.slice(this.#sizes.length)) this.#sizes.push(templateSize(spec))
    // Checks the text and not the ref, because the text is what is published.
    if (!isPlainlyGood(JSON.parse(text), text.length, { sizes: this.#sizes, keys: this.#keys })) this.#refuse(text, ref)
    return text
  }

  #refuse(text: string, { runId, storeId, sampleId }: SampleRef): void {
    new RefParser({ runId, storeId, ...this.shared }).line(text, () => `ref of ${String(sampleId)}`)
  }
}
