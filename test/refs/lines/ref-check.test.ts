import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assertNoTensors } from '../../../src/core/no-tensors.ts'
import { RefParser } from '../../../src/refs/lines/parse-ref.ts'
import { isPlainlyGood, templateSize } from '../../../src/refs/lines/ref-check.ts'
import { fromLine, RefLine, type SpecTemplate } from '../../../src/refs/lines/ref-line.ts'

const specs: SpecTemplate[] = [
  [
    ['input_ids', 'int64', ['n']],
    ['hidden_state', 'bfloat16', ['n', 8]],
  ],
  [['pooled', 'float32', [16]]],
  [['empty', 'float32', []]],
]
const keys = [['from', 'lossTokens'], [], ['__proto__'], ['truncated']]
const root = { runId: 'run' as never, storeId: 'store' as never, specs, keys }
const known = { sizes: specs.map(templateSize), keys }

/** What the schema and the rules beside it say of a line; null when they refuse it. */
function judged(json: unknown): unknown {
  try {
    assertNoTensors(json, 'line')
  } catch {
    return null
  }
  const parsed = RefLine.safeParse(json)
  if (!parsed.success) return null
  const ref = fromLine(parsed.data, root, root)
  return typeof ref === 'string' ? null : ref
}

const count = fc.oneof(
  fc.nat(3000),
  fc.constantFrom(0, 1, -1, 1.5, 2 ** 31, 2 ** 53, 2 ** 53 - 1, 1e300, -0),
  fc.constantFrom('1', null, true),
)
const id = fc.oneof(
  fc.nat().map((at) => `run:${at}`),
  fc.constantFrom('', '../x', 'a/b', 'a\u0000', 'é', 'a'.repeat(200), 'a'.repeat(201), '.a', 'a\n', 7, null),
)
const hex = fc.bigInt(0n, 2n ** 64n - 1n).map((word) => word.toString(16).padStart(16, '0'))
const sampleId = fc.nat().map((at) => `Run_1.a-b:${at}`)
const hash = fc.oneof(hex, fc.constantFrom('0123456789ABCDEF', '0123', '', '0123456789abcdef\n', 5))
const scalar = fc.oneof(
  fc.string(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, 'x'.repeat(1024), 'x'.repeat(1025), Number.MAX_VALUE, [1], {}, Number.POSITIVE_INFINITY),
)
const name = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'k'.repeat(64), 'k'.repeat(65)))
const origin = fc.oneof(
  fc.dictionary(name, scalar),
  fc.tuple(count, fc.array(scalar, { maxLength: 3 })).map(([list, values]) => [list, ...values]),
  fc.constantFrom(null, [], 'text'),
)
/** None, as in schema version 1; or one list of facts, good or wrong in a place. */
const facts = fc.oneof(
  fc.constant([]),
  fc.tuple(fc.constant(null), fc.nat(1), count).map((good) => [good]),
  fc.array(fc.oneof(count, fc.constant(0)), { maxLength: 4 }).map((list) => [list]),
)
/** Good in most places and wrong in a few, so that both sides of every rule are met. */
const line = fc
  .record({ id, generation: count, index: fc.oneof(fc.nat(3), count), tokens: count, off: fc.constantFrom(0, 0, 0, 1) })
  .chain(({ id: sample, generation, index, tokens, off }) => {
    const size = known.sizes[typeof index === 'number' ? index : -1]
    const n = typeof tokens === 'number' ? tokens : 0
    const bytes = size === undefined ? off : size.fixed + size.perToken * n + off
    const width = (size?.features ?? 1) + off
    const hashes = fc.array(hash, { minLength: width, maxLength: width })
    return fc.tuple(hashes, origin, facts).map(([list, from, ...rest]) => {
      return [sample, generation, index, tokens, bytes, list, from, ...rest.flat()]
    })
  })
const right = fc
  .tuple(fc.nat(2), fc.integer({ min: 1, max: 10 ** 12 }), fc.nat(4096))
  .chain(([index, generation, n]) => {
    const { features = 0, fixed = 0, perToken = 0 } = known.sizes[index] ?? {}
    const hashes = fc.array(hex, { minLength: features, maxLength: features })
    const sources = fc.oneof(
      fc.tuple(fc.constant(0), fc.string(), fc.integer()),
      fc.dictionary(fc.string({ maxLength: 64 }), fc.oneof(fc.string(), fc.boolean(), fc.constant(null))),
    )
    const stated = fc.oneof(fc.constant([]), fc.constant([[3, 1, null]]))
    return fc.tuple(sampleId, hashes, sources, stated).map(([called, list, source, rest]): unknown[] => {
      return [called, generation, index, n, fixed + perToken * n, list, source, ...rest]
    })
  })
const mutated = fc.tuple(right, fc.nat(9), fc.jsonValue()).map(([good, at, value]): unknown[] => {
  if (at === 8) return good.slice(0, -1)
  return Object.assign([...good], { [at]: value })
})

describe('the fast check of a ref', () => {
  it('never says yes to what the schema refuses, and the parser agrees with the schema on everything', {
    timeout: 180_000,
  }, () => {
    const seen = { good: 0, bad: 0 }
    fc.assert(
      fc.property(fc.oneof(line, right, mutated), (made) => {
        const text = JSON.stringify(made)
        const expected = judged(JSON.parse(text))
        if (isPlainlyGood(JSON.parse(text), text.length, known)) expect(expected).not.toBeNull()
        let found: unknown = null
        try {
          found = new RefParser(root).ref(text, () => 'here')
        } catch (error) {
          expect(error).toMatchObject({ code: 'REF_INVALID' })
        }
        expect(found).toEqual(expected)
        seen[expected === null ? 'bad' : 'good'] += 1
      }),
      { numRuns: 4000, seed: 4 },
    )
    // Both kinds were met, or the property says nothing.
    expect(seen.good).toBeGreaterThan(800)
    expect(seen.bad).toBeGreaterThan(800)
  })

  it('says yes to a usual line, or it would be of no use', () => {
    const usual = ['run:1', 1, 0, 5, 5 * 24, ['0123456789abcdef', 'fedcba9876543210'], [0, 'a.ckpt', 3], [4, 0, null]]
    expect(isPlainlyGood(usual, 90, known)).toBe(true)
    expect(isPlainlyGood(usual.slice(0, 7), 90, known)).toBe(true)
    expect(isPlainlyGood([...usual.slice(0, 6), { from: 'a.ckpt' }], 90, known)).toBe(true)
  })

  it('takes the facts of a line of schema version 1 out of its provenance', () => {
    const hashes = ['0123456789abcdef', 'fedcba9876543210']
    const start = ['run:1', 1, 0, 5, 5 * 24, hashes]
    const ref = (...end: unknown[]) => new RefParser(root).ref(JSON.stringify([...start, ...end]), () => 'here')
    const old = { from: 'a.ckpt', fileBytes: 99, lossTokens: 3, truncated: true }
    const facts = { trainedTokens: 3, truncated: true, sourceBytes: 99 }
    expect(ref(old)).toMatchObject({ ...facts, provenance: { from: 'a.ckpt' } })
    expect(ref({ from: 'a.ckpt' }, [3, 1, 99])).toEqual(ref(old))
    // A key of this name that is no count is not the fact.
    expect(ref({ lossTokens: 'many' })).toMatchObject({ provenance: { lossTokens: 'many' } })
    expect(ref({ lossTokens: 'many' })).not.toHaveProperty('trainedTokens')
    // In a line with facts, provenance means nothing to the program.
    expect(ref(old, [null, 0, null])).toMatchObject({ truncated: false, provenance: old })
    expect(ref(old, [null, null, null])).not.toHaveProperty('truncated')
  })

  it('leaves long lines to the slow rules', () => {
    const many = Object.fromEntries(Array.from({ length: 1100 }, (_, at) => [`k${at}`, at]))
    const text = JSON.stringify(['run:1', 1, 2, 5, 4, ['0123456789abcdef'], many])
    expect(() => new RefParser(root).ref(text, () => 'seg:9')).toThrow('more than 1024 numbers')
  })
})
