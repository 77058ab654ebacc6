import { expect, it } from 'vitest'
import { dtypeBytes, FeatureSpec, specBytes } from '../../src/core/feature-spec.ts'
import { Generation, RunId, SampleId, StoreId } from '../../src/core/ids.ts'

const accepts = (schema: { safeParse(value: unknown): { success: boolean } }) => (value: unknown) =>
  schema.safeParse(value).success

it('takes a sample id that is safe as a file name, and no other', () => {
  const good = ['a', 'run:00000001', 'a.b-c_d', '0', 'A'.repeat(200), 'a..b']
  const bad = [
    '',
    '.',
    '..',
    '../x',
    '/x',
    'a/b',
    'a\\b',
    'a\0',
    'a\n',
    '-a',
    ':a',
    '_a',
    'a b',
    'é',
    'A'.repeat(201),
    1,
    null,
  ]
  expect(good.filter(accepts(SampleId))).toEqual(good)
  expect(bad.filter(accepts(SampleId))).toEqual([])
})

it('takes short plain names for stores and runs', () => {
  for (const schema of [StoreId, RunId]) {
    expect(['a', 'demo-1', 'x'.repeat(64)].every(accepts(schema))).toBe(true)
    expect(['', '.a', 'a:b', 'a/b', 'x'.repeat(65)].some(accepts(schema))).toBe(false)
  }
})

it('counts generations from 1 in whole numbers that a double holds', () => {
  expect([1, 2 ** 20, Number.MAX_SAFE_INTEGER].every(accepts(Generation))).toBe(true)
  expect([0, -1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '1'].some(accepts(Generation))).toBe(false)
})

it('knows the bytes of every dtype', () => {
  const spec = { name: 'x', shape: [3, 5] }
  const bytes = Object.keys(dtypeBytes).map((dtype) => specBytes(FeatureSpec.parse({ ...spec, dtype })) / 15)
  expect(bytes).toEqual([8, 4, 2, 2, 8, 4, 2, 1, 1, 1])
  expect(specBytes({ ...spec, shape: [], dtype: 'int64' })).toBe(8)
  expect(specBytes({ ...spec, shape: [0, 9], dtype: 'int64' })).toBe(0)
})

it('refuses a feature spec that names no tensor', () => {
  const good = { name: 'hidden_state', shape: [2], dtype: 'bfloat16' }
  expect(accepts(FeatureSpec)(good)).toBe(true)
  const bad = [
    { ...good, name: '../x' },
    { ...good, name: '' },
    { ...good, name: 'Hidden' },
    { ...good, shape: [-1] },
    { ...good, shape: [1.5] },
    { ...good, shape: [1, 1, 1, 1, 1, 1, 1, 1, 1] },
    { ...good, dtype: 'complex64' },
    { ...good, device: 'cuda' },
  ]
  expect(bad.filter(accepts(FeatureSpec))).toEqual([])
})
