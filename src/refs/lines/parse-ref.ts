import { type CodedError, finding } from '../../core/errors.ts'
import { assertNoTensors } from '../../core/no-tensors.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { PRODUCE_AGAIN } from '../produce-again.ts'
import { isPlainlyGood, type Known, templateSize } from './ref-check.ts'
import { fromLine, RefLine, type Shared } from './ref-line.ts'

/** What all refs of a manifest share. */
export interface RefRoot extends Shared {
  readonly runId: SampleRef['runId']
  readonly storeId: SampleRef['storeId']
}

/** Parses the lines of one manifest. `where` gives file and line for error messages. */
export class RefParser {
  readonly #root: RefRoot
  readonly #known: Known

  constructor(root: RefRoot) {
    this.#root = root
    this.#known = { sizes: root.specs.map(templateSize), keys: root.keys }
  }

  /** @throws REF_INVALID naming line and field. */
  ref(text: string, where: () => string): SampleRef {
    return this.#refOf(this.line(text, where), where)
  }

  /** The line itself, checked as in `ref`, without the values that it shares with others. */
  line(text: string, where: () => string): RefLine {
    const json = parseJson(text, where)
    if (isPlainlyGood(json, text.length, this.#known)) return json
    assertNoTensors(json, where())
    const parsed = RefLine.safeParse(json)
    if (!parsed.success) {
      const issue = parsed.error.issues[0]
      throw badRef(where(), issue?.path.map(String).join('.') ?? '', issue?.message ?? 'something else')
    }
    this.#refOf(parsed.data, where)
    return parsed.data
  }

  #refOf(line: RefLine, where: () => string): SampleRef {
    const ref = fromLine(line, this.#root, this.#root)
    if (typeof ref === 'string') throw badRef(where(), 'features', ref)
    return ref
  }
}

function parseJson(text: string, where: () => string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw badRef(where(), '(the whole line)', cause instanceof Error ? cause.message : String(cause))
  }
}

export const badRef = (file: string, field: string, found: string): CodedError =>
  finding('REF_INVALID', 'this line of the manifest is not a sample ref', { file, field, found, fix: PRODUCE_AGAIN })
