import { expect, it } from 'vitest'
import { SampleRef } from '../../src/core/sample-ref.ts'

const good = {
  schemaVersion: 1,
  runId: 'run',
  sampleId: 'run:00000000',
  storeId: 'store',
  generation: 1_048_577,
  features: [{ name: 'input_ids', shape: [5], dtype: 'int64' }],
  digests: { input_ids: 'xxh3_64:0123456789abcdef' },
  numTokens: 5,
  bytes: 40,
  provenance: { file: 'a.ckpt', index: 3, truncated: false, note: null },
}

it('survives JSON unchanged', () => {
  expect(SampleRef.parse(JSON.parse(JSON.stringify(good)))).toEqual(good)
})

it('may state facts, which are checked', () => {
  const ref = { ...good, trainedTokens: 3, truncated: true, sourceBytes: 99 }
  expect(SampleRef.parse(ref)).toEqual(ref)
  for (const wrong of [{ trainedTokens: -1 }, { trainedTokens: '3' }, { truncated: 1 }, { sourceBytes: 0.5 }]) {
    expect(SampleRef.safeParse({ ...ref, ...wrong }).success).toBe(false)
  }
})

const spoils: Readonly<Record<string, object>> = {
  'a future schema version': { schemaVersion: 2 },
  'an unknown key': { uri: 'file:///x' },
  'an id that is a path': { sampleId: '../x' },
  'a generation of 0': { generation: 0 },
  'the name of a draft architecture': { architecture: 'eagle3' },
  'no features': { features: [] },
  'more features than a sample has': { features: Array.from({ length: 33 }, () => good.features[0]) },
  'a digest of another kind': { digests: { input_ids: 'sha256:00' } },
  'a digest in capitals': { digests: { input_ids: 'xxh3_64:0123456789ABCDEF' } },
  'negative bytes': { bytes: -1 },
  'half a token': { numTokens: 0.5 },
  'a list in its provenance': { provenance: { values: [1, 2, 3] } },
  'an object in its provenance': { provenance: { values: {} } },
  'a long text in its provenance': { provenance: { text: 'x'.repeat(1025) } },
  'NaN in its provenance': { provenance: { loss: Number.NaN } },
}
it.each(Object.entries(spoils))('is refused with %s', (_, change) => {
  expect(SampleRef.safeParse({ ...good, ...change }).success).toBe(false)
})

it('is refused when a key is missing', () => {
  for (const key of Object.keys(good)) {
    const { [key as keyof typeof good]: _, ...rest } = good
    expect(SampleRef.safeParse(rest).success, key).toBe(false)
  }
})
