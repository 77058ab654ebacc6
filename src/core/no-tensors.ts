import { isProxy } from 'node:util/types'
import { type CodedError, finding } from './errors.ts'

// A ref is a few KiB. The bounds are what make the promise: no tensor of a useful size fits within them, however it
// is encoded (numbers, base64, a thousand keys).
const MAX_DEPTH = 32
const MAX_TEXT = 64 * 1024
const MAX_STRING = 16 * 1024
const MAX_KEY = 256
const MAX_LIST_OF_NUMBERS = 64
const MAX_NUMBERS = 1024
const MAX_NODES = 16 * 1024

interface Budget {
  text: number
  numbers: number
  nodes: number
  readonly above: Set<object>
}

/**
 * Throws REF_INVALID unless `value` is small plain data: null, text, finite numbers, booleans, plain objects, arrays.
 * Bytes, typed arrays, class instances, functions, cycles and long lists of numbers are refused wherever they hide.
 */
export function assertNoTensors(value: unknown, path: string): void {
  visit(value, path, { text: 0, numbers: 0, nodes: 0, above: new Set() })
}

function visit(value: unknown, path: string, budget: Budget): void {
  budget.nodes += 1
  if (budget.nodes > MAX_NODES) throw refused(path, `more than ${MAX_NODES} values`)
  if (typeof value === 'string') countText(value, path, MAX_STRING, budget)
  else if (typeof value === 'number') countNumber(value, path, budget)
  else if (typeof value === 'object' && value !== null) visitObject(value, path, budget)
  else if (typeof value !== 'boolean' && value !== null) throw refused(path, `a value of type ${typeof value}`)
}

function visitObject(value: object, path: string, budget: Budget): void {
  if (budget.above.has(value)) throw refused(path, 'a reference to something above it')
  if (budget.above.size >= MAX_DEPTH) throw refused(path, `nested more than ${MAX_DEPTH} deep`)
  const isArray = expectPlain(value, path)
  if (isArray) expectShortList(value, path)
  budget.above.add(value)
  for (const [key, child] of ownValues(value, path, isArray)) {
    if (!isArray) countText(key, path, MAX_KEY, budget)
    visit(child, isArray ? `${path}[${key}]` : `${path}.${key}`, budget)
  }
  budget.above.delete(value)
}

function expectPlain(value: object, path: string): value is unknown[] {
  // A proxy could show plain data now and something else when it is written.
  if (isProxy(value)) throw refused(path, 'a proxy')
  const prototype: unknown = Object.getPrototypeOf(value)
  if (Array.isArray(value) && prototype === Array.prototype) return true
  if (!Array.isArray(value) && (prototype === Object.prototype || prototype === null)) return false
  throw refused(path, `an instance of ${nameOfClass(prototype)}`)
}

function expectShortList(value: readonly unknown[], path: string): void {
  if (value.length > MAX_NODES) throw refused(path, `a list of ${value.length}`)
  // Own keys are the indices, then `length`, then any extra property. Fewer indices mean a hole.
  const keys = Reflect.ownKeys(value)
  if (keys.length !== value.length + 1 || keys.at(-1) !== 'length')
    throw refused(path, 'a list with a hole or a property')
  const numbers = value.filter((item) => typeof item === 'number').length
  if (numbers > MAX_LIST_OF_NUMBERS) throw refused(path, `a list of ${numbers} numbers`)
}

/** Every own property, also those that JSON would not write: a tensor must not hide in one of them. */
function* ownValues(value: object, path: string, isArray: boolean): Generator<[string, unknown]> {
  const properties = Object.getOwnPropertyDescriptors(value)
  for (const key of Reflect.ownKeys(properties)) {
    if (typeof key === 'symbol') throw refused(path, 'a symbol as key')
    if (isArray && key === 'length') continue
    const property = properties[key as keyof typeof properties] as PropertyDescriptor
    if (!('value' in property)) throw refused(`${path}.${key.slice(0, 40)}`, 'a getter')
    yield [key, property.value]
  }
}

function countText(text: string, path: string, limit: number, budget: Budget): void {
  if (text.length > limit) throw refused(path, `text of ${text.length} characters, where ${limit} are allowed`)
  budget.text += text.length
  if (budget.text > MAX_TEXT) throw refused(path, `more than ${MAX_TEXT} characters of text in all`)
}

function countNumber(value: number, path: string, budget: Budget): void {
  if (!Number.isFinite(value)) throw refused(path, String(value))
  budget.numbers += 1
  if (budget.numbers > MAX_NUMBERS) throw refused(path, `more than ${MAX_NUMBERS} numbers in all`)
}

function nameOfClass(prototype: unknown): string {
  const owner = typeof prototype === 'object' && prototype !== null ? prototype.constructor : undefined
  return typeof owner === 'function' && owner.name !== '' ? owner.name : 'a class'
}

function refused(path: string, found: string): CodedError {
  return finding('REF_INVALID', 'a ref describes tensors and must not carry them', {
    field: path.slice(0, 200),
    found,
    fix: 'put the tensors into the store, and only short plain values into provenance',
  })
}
