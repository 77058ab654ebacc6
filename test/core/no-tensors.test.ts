import { expect, it } from 'vitest'
import { assertNoTensors } from '../../src/core/no-tensors.ts'

const check = (value: unknown) => () => assertNoTensors(value, 'ref')
const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) })
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)
const cyclic: Record<string, unknown> = {}
cyclic['self'] = { again: cyclic }
class Tensor {
  readonly dtype = 'float32'
}

const plain: Readonly<Record<string, unknown>> = {
  scalars: [null, true, 'text', 0, -1.5],
  objects: { a: { b: [{ c: 'd' }] }, empty: {}, none: [] },
  'an object without prototype': Object.assign(Object.create(null), { a: 1 }),
  'the same object twice': ((shared) => ({ a: shared, b: shared }))({ x: 1 }),
  'the shapes of 32 features': numbers(32).map(() => ({ shape: numbers(8) })),
  'a list of 64 numbers': numbers(64),
  'a list of 1000 texts': numbers(1000).map(String),
  'a depth of 31': nested(31),
}
it.each(Object.entries(plain))('takes %s', (_, value) => {
  expect(check(value)).not.toThrow()
})

const disguises: Readonly<Record<string, unknown>> = {
  'a Buffer': Buffer.alloc(4),
  'a typed array': new Float32Array(2),
  'an ArrayBuffer': new ArrayBuffer(8),
  'a SharedArrayBuffer': new SharedArrayBuffer(8),
  'a DataView': new DataView(new ArrayBuffer(8)),
  'a class instance': new Tensor(),
  'a Map': new Map([[1, 2]]),
  'a Set': new Set([1]),
  'a Date': new Date(0),
  'a boxed number': Object(1),
  'a function': () => 1,
  'a symbol': Symbol('x'),
  'a bigint': 1n,
  undefined: undefined,
  NaN: Number.NaN,
  infinity: Number.POSITIVE_INFINITY,
  'a list of 65 numbers': numbers(65),
  'a list of 65 numbers with text between them': numbers(130).map((n) => (n % 2 ? n : 'x')),
  'lists of numbers that are long together': numbers(40).map(() => numbers(40)),
  'numbers spread over keys': Object.fromEntries(numbers(1025).map((n) => [`k${n}`, n])),
  'numbers hidden in keys': Object.fromEntries(numbers(20_000).map((n) => [`${n}`, null])),
  'a long text': 'A'.repeat(20_000),
  'many texts that are long together': numbers(60).map(() => 'A'.repeat(2_000)),
  'a long key': { ['k'.repeat(257)]: 1 },
  'a cycle': cyclic,
  'a depth of 40': nested(40),
  'a list with a hole': Object.assign(new Array(3), { 0: 1, 2: 3 }),
  'a list of a thousand million holes': new Array(1e9),
  'a list with a hole and a property instead': Object.assign(new Array(1), { data: 'x' }),
  'an array that carries a property': Object.assign([1], { data: 'x' }),
  'an array of another class': new (class extends Array {})(),
  'a getter': Object.defineProperty({}, 'x', { get: () => 1, enumerable: true }),
  'a value that JSON would not show': Object.defineProperty({}, 'x', { value: Buffer.alloc(1), enumerable: false }),
  'a symbol as key': { [Symbol('x')]: Buffer.alloc(1) },
  'a proxy': new Proxy({}, {}),
  'bytes under the key length': { length: Buffer.alloc(1) },
}
it.each(Object.entries(disguises))('refuses %s, at the top and below', (_, value) => {
  const refusal = expect.objectContaining({ code: 'REF_INVALID', exitCode: 65 })
  expect(check(value)).toThrow(refusal)
  expect(check({ provenance: [{ x: value }] })).toThrow(refusal)
})

it('names the path, what it found and what to do', () => {
  expect(check({ features: [{ shape: [1] }, { shape: [2, Buffer.alloc(1)] }] })).toThrow(
    expect.objectContaining({
      details: { field: 'ref.features[1].shape[1]', found: 'an instance of Buffer', fix: expect.any(String) },
    }),
  )
})

it('does not run the code of what it looks at', () => {
  let ran = false
  const value = {
    get x() {
      ran = true
      return 1
    },
  }
  expect(check(value)).toThrow('a getter')
  expect(ran).toBe(false)
})

it('ends quickly on an object that unfolds without end', () => {
  let bomb: unknown = 1
  for (let depth = 0; depth < 30; depth++) bomb = { a: bomb, b: bomb }
  expect(check(bomb)).toThrow(expect.objectContaining({ code: 'REF_INVALID' }))
})
