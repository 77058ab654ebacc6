import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assertNoTensors } from '../../src/core/no-tensors.ts'
import { isSmallPlainRef, plainRef } from '../../src/core/plain-ref.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'

const good = {
  schemaVersion: 1,
  runId: 'run',
  sampleId: 'run:00000000',
  storeId: 'store',
  generation: 1_048_577,
  features: [
    { name: 'input_ids', shape: [5], dtype: 'int64' },
    { name: 'hidden_state', shape: [5, 8], dtype: 'bfloat16' },
  ],
  digests: { input_ids: 'xxh3_64:0123456789abcdef', hidden_state: 'xxh3_64:0123456789abcdef' },
  numTokens: 5,
  bytes: 120,
  provenance: { file: 'a.ckpt', index: 3, truncated: false, note: null },
}

it('carries little, unless there is more to it than a ref has or its values are not short and plain', () => {
  expect(isSmallPlainRef(good)).toBe(true)
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`key${index}`, index]))
  const more = [
    null,
    'a ref',
    {},
    { ...good, [Symbol('x')]: 1 },
    { ...good, digests: null },
    { ...good, digests: { ...good.digests, other: new Uint8Array(9) } },
    { ...good, features: [null] },
    { ...good, features: [{ ...good.features[0], data: new Uint8Array(9) }] },
    ...[new Uint8Array(9), { deep: 1 }, 'x'.repeat(1025), [1]].map((value) => ({ ...good, provenance: { value } })),
    { ...good, provenance: many },
    { ...good, trainedTokens: [1, 2] },
    { ...good, truncated: 'x'.repeat(1025) },
  ]
  for (const each of more) expect(isSmallPlainRef(each)).toBe(false)
})

/** What the schema and the rule beside it say; null when they refuse it. */
function judged(given: unknown): unknown {
  try {
    assertNoTensors(given, 'ref')
  } catch {
    return null
  }
  return SampleRef.safeParse(given).data ?? null
}

const odd = fc.oneof(
  fc.constantFrom<unknown>(null, undefined, true, '', 'x', '../x', 'a\n', 'é', 'a'.repeat(64), 'a'.repeat(201)),
  fc.constantFrom<unknown>(0, -0, -1, 1.5, 1, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, [], {}, [1], ['int64']),
  fc.constantFrom<unknown>('eagle3', 'int64', 'xxh3_64:0123456789ABCDEF', 'xxh3_64:0123456789abcdef', '__proto__'),
  fc.constantFrom<unknown>(
    'toString',
    Array.from({ length: 9 }, () => 1),
    new Uint8Array(4),
    'x'.repeat(1025),
  ),
  fc.string(),
  fc.double(),
)
/** Where in a ref something is put, taken away or added. */
const place = fc.constantFrom(
  ...Object.keys(good).map((key) => [key]),
  ...['name', 'shape', 'dtype', 'data'].map((key) => ['features', 0, key]),
  ['features', 1],
  ['features', 1, 'shape', 1],
  ...['input_ids', 'hidden_state', 'other', '__proto__'].map((key) => ['digests', key]),
  ...['file', 'index', 'k'.repeat(64), 'k'.repeat(65), '__proto__', 'constructor'].map((key) => ['provenance', key]),
  ...['uri', 'trainedTokens', 'truncated', 'sourceBytes'].map((key) => [key]),
)

function changed(changes: readonly (readonly [readonly (string | number)[], unknown])[]): unknown {
  const ref: unknown = structuredClone(good)
  for (const [where, value] of changes) {
    let at = ref
    for (const key of where.slice(0, -1)) at = typeof at === 'object' && at !== null ? Reflect.get(at, key) : at
    const define = { value: structuredClone(value), enumerable: true, configurable: true, writable: true }
    if (typeof at === 'object' && at !== null) Reflect.defineProperty(at, where.at(-1) ?? '', define)
  }
  return ref
}

describe('a ref that is plainly good', () => {
  it('comes back as a copy, all of it', () => {
    const ref = plainRef(good)
    expect(ref).toEqual(good)
    expect(ref).not.toBe(good)
    expect(ref?.features[0]?.shape).not.toBe(good.features[0]?.shape)
  })

  it('has a feature: one without any is left to the schema', () => {
    expect(plainRef({ ...good, features: [], digests: {} })).toBeNull()
  })

  it('is one by its schema, and comes back as from there', () => {
    const changes = fc.array(fc.tuple(place, odd), { maxLength: 3 })
    let plain = 0
    fc.assert(
      fc.property(changes, (made) => {
        const found = plainRef(changed(made))
        if (found === null) return
        plain += 1
        expect(found).toEqual(judged(changed(made)))
      }),
      { numRuns: 20_000, seed: 1 },
    )
    expect(plain).toBeGreaterThan(1000)
  })

  it('is looked at once it is copied, so that nothing changes under the look', () => {
    let looks = 0
    const shifty = { ...good }
    Object.defineProperty(shifty, 'sampleId', { get: () => (looks++ === 0 ? 'run:0' : '../../x'), enumerable: true })
    expect([plainRef(shifty)?.sampleId, looks]).toEqual(['run:0', 1])
  })
})
