import fc from 'fast-check'
import { expect, it } from 'vitest'
import { objectOps } from '../../src/bridge/object-ops.ts'

const { output, isPlain } = objectOps['object.read']
const found = {
  set: { handle: 3, features: [{ name: 'x', shape: [2, 3], dtype: 'int8' }], bytes: 6 },
  metadata: { format: 'draftbridge.sample.1' },
  digests: { x: 'xxh3_64:0123456789abcdef' },
}
const error = { error: { code: 'SAMPLE_CORRUPT', message: 'text', details: { file: '/x' } } }

it('takes the reply to a read at a glance, and leaves the rest to the schema', () => {
  expect(isPlain({ results: [found, found] })).toBe(true)
  for (const results of [[error], [null], [found, null]]) {
    expect(isPlain({ results })).toBe(false)
    expect(output.parse({ results })).toEqual({ results })
  }
})

const odd = fc.constantFrom(null, 0, 1, -1, 1.5, '', 'x', 'int8', [], [1], [-1], {}, { x: 1 }, { x: 'y' }, true)
const place = fc.constantFrom(
  ['results'],
  ...['set', 'metadata', 'digests', 'more'].map((key) => ['results', 0, key]),
  ...['handle', 'features', 'bytes', 'more'].map((key) => ['results', 0, 'set', key]),
  ...['name', 'shape', 'dtype', 'more'].map((key) => ['results', 0, 'set', 'features', 0, key]),
  ['results', 0, 'digests', 'x'],
)

it('never takes at a glance what the schema refuses', () => {
  const seen = { plain: 0, refused: 0 }
  fc.assert(
    fc.property(place, odd, (where, value) => {
      const reply = structuredClone({ results: [found] }) as object
      let at = reply
      for (const key of where.slice(0, -1)) at = Reflect.get(at, key) as object
      Reflect.set(at, where.at(-1) ?? '', value)
      const parsed = output.safeParse(reply)
      seen[parsed.success ? 'plain' : 'refused'] += Number(isPlain(reply) === parsed.success)
      if (isPlain(reply)) expect(parsed.data).toEqual(reply)
    }),
    { numRuns: 3000, seed: 1 },
  )
  // Both kinds were met, or the property says nothing.
  expect(seen.plain).toBeGreaterThan(100)
  expect(seen.refused).toBeGreaterThan(1000)
})
