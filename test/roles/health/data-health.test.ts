import { expect, it } from 'vitest'
import { ManifestWriter, readManifestSoFar } from '../../../src/refs/manifest.ts'
import { dataHealth } from '../../../src/roles/health/data-health.ts'
import { work } from '../../support/manifests.ts'
import { exampleRef } from '../../support/refs.ts'

const refs = Array.from({ length: 200 }, (_, index) => {
  const n = 2 + ((index * 53) % 300)
  return exampleRef(index, { n, trainedTokens: (index * 17) % n, truncated: index % 7 === 0 })
})

it('is that of the refs, counted one by one, and of the counts of tokens', async () => {
  const given = await work()
  const writer = await ManifestWriter.open(given)
  for (const ref of refs) writer.append(ref)
  await writer.flush()
  const open = await dataHealth(await readManifestSoFar(given))
  expect(open).toMatchObject({ state: 'open', run: 'run', produced: null, vocabulary: null, shown: null })
  await writer.complete([
    [5, 30],
    [7, 10],
  ])
  const health = await dataHealth(await readManifestSoFar(given), 1)
  const sum = (of: (ref: (typeof refs)[number]) => number) => refs.reduce((total, ref) => total + of(ref), 0)
  expect(health).toEqual({
    ...open,
    state: 'complete',
    samples: 200,
    cut: refs.filter(({ truncated }) => truncated).length,
    tokens: sum(({ numTokens }) => numTokens),
    trainedTokens: sum(({ trainedTokens }) => trainedTokens ?? 0),
    bytes: sum(({ bytes }) => bytes),
    vocabulary: {
      trained: 40,
      distinct: 2,
      coverage: [
        { tokens: 1, share: 0.75 },
        { tokens: 64, share: 1 },
      ],
    },
  })
  for (const { from, to, samples } of health.lengths) {
    expect(samples).toBe(refs.filter(({ numTokens }) => from <= numTokens && numTokens < to).length)
  }
  for (const { from, to, samples } of health.trainedShares) {
    const percent = (ref: (typeof refs)[number]) => Math.floor((100 * (ref.trainedTokens ?? 0)) / ref.numTokens)
    expect(samples).toBe(refs.filter((ref) => from <= percent(ref) && percent(ref) < to).length)
  }
})

it('leaves samples out of the shares of which nobody knows what is trained', async () => {
  const given = await work()
  const writer = await ManifestWriter.open(given)
  const { trainedTokens: _, truncated: __, ...unknown } = exampleRef(0)
  writer.append(unknown)
  writer.append(exampleRef(1, { n: 10, trainedTokens: 5 }))
  await writer.flush()
  const { samples, cut, trainedShares } = await dataHealth(await readManifestSoFar(given))
  expect([samples, cut]).toEqual([2, 0])
  expect(trainedShares.filter(({ samples }) => samples > 0)).toEqual([{ from: 50, to: 60, samples: 1 }])
})
