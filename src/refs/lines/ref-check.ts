import { specBytes } from '../../core/feature-spec.ts'
import { isCount } from '../../core/plain.ts'
import type { KeyList, RefLine, SpecTemplate } from './ref-line.ts'

const SAMPLE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/
const HASH = /^[0-9a-f]{16}$/
/** A line this short stays within the bounds of `assertNoTensors`, which begin at a thousand numbers. */
const SHORT = 4096

/** Size of a sample of a template: bytes = fixed + perToken x tokens. */
export interface TemplateSize {
  readonly features: number
  readonly fixed: number
  readonly perToken: number
}

export const templateSize = (template: SpecTemplate): TemplateSize => {
  let [fixed, perToken] = [0, 0]
  for (const [name, dtype, shape] of template) {
    const bytes = specBytes({ name, dtype, shape: shape.map((axis) => (axis === 'n' ? 1 : axis)) })
    if (shape[0] === 'n') perToken += bytes
    else fixed += bytes
  }
  return { features: template.length, fixed, perToken }
}

/** The lists of the root that lines refer to by index. */
export interface Known {
  readonly sizes: readonly TemplateSize[]
  readonly keys: readonly KeyList[]
}

/**
 * A fast check of a line, about ten times faster than its schema. True: the schema would accept the line. False: the
 * schema has to decide, and to say what is wrong.
 */
export function isPlainlyGood(json: unknown, length: number, { sizes, keys }: Known): json is RefLine {
  if (length > SHORT || !Array.isArray(json) || !hasGoodFacts(json)) return false
  const [id, generation, index, tokens, bytes, hashes, provenance] = json as readonly unknown[]
  if (typeof id !== 'string' || !SAMPLE_ID.test(id)) return false
  if (!isCount(generation) || generation === 0) return false
  if (!isCount(index) || !isCount(tokens) || !isCount(bytes)) return false
  const size = sizes[index]
  if (size === undefined || bytes !== size.fixed + size.perToken * tokens) return false
  return areHashes(hashes, size.features) && isPlainOrigin(provenance, keys)
}

/** Whether a line ends where it should: behind its provenance in schema version 1, behind good facts else. */
function hasGoodFacts(line: readonly unknown[]): boolean {
  if (line.length !== 8) return line.length === 7
  const value = line[7]
  if (!Array.isArray(value) || (value.length !== 3 && !(value.length === 4 && isCount(value[3])))) return false
  const [trainedTokens, truncated, sourceBytes] = value as readonly unknown[]
  if (truncated !== null && truncated !== 0 && truncated !== 1) return false
  return (trainedTokens === null || isCount(trainedTokens)) && (sourceBytes === null || isCount(sourceBytes))
}

function areHashes(value: unknown, count: number): boolean {
  if (!Array.isArray(value) || value.length !== count) return false
  for (const hash of value) if (typeof hash !== 'string' || !HASH.test(hash)) return false
  return true
}

function isPlainOrigin(value: unknown, lists: readonly KeyList[]): boolean {
  if (!Array.isArray(value)) return isPlainProvenance(value)
  const [list, ...values] = value as readonly unknown[]
  return isCount(list) && lists[list]?.length === values.length && values.every(isScalar)
}

/** For a value from `JSON.parse`, which holds no getters, proxies or class instances. */
function isPlainProvenance(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  for (const [key, item] of Object.entries(value)) {
    if (key.length > 64 || key === '__proto__') return false
    if (!isScalar(item)) return false
  }
  return true
}

const isScalar = (value: unknown): boolean =>
  typeof value === 'string'
    ? value.length <= 1024
    : value === null || typeof value === 'boolean' || Number.isFinite(value)
