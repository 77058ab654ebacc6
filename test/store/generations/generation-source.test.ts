import { expect, it } from 'vitest'
import { GenerationSource } from '../../../src/store/generations/generation-source.ts'

const PER_EPOCH = 2 ** 20

function setUp(start = 0) {
  const claims: number[] = []
  let newest = start
  const source = new GenerationSource(async (above) => {
    newest = Math.max(newest, above) + 1
    const number = newest
    claims.push(number)
    return { number, newest: async () => newest === number }
  })
  return { claims, source, claimElsewhere: () => (newest += 1) }
}

it('claims one epoch for many generations, also when they are asked for at once', async () => {
  const { source, claims } = setUp()
  const minted = await Promise.all(Array.from({ length: 50 }, () => source.next()))
  expect(minted).toEqual(Array.from({ length: 50 }, (_, index) => PER_EPOCH + 1 + index))
  expect(claims).toEqual([1])
})

it('goes beyond what is stored already, and never back', async () => {
  const { source } = setUp()
  const far = 40 * PER_EPOCH + 12
  const minted = [await source.next(), await source.next(far), await source.next(), await source.next(5)]
  expect(minted).toEqual([PER_EPOCH + 1, 41 * PER_EPOCH + 1, 41 * PER_EPOCH + 2, 41 * PER_EPOCH + 3])
})

it('claims another epoch when one is used up', async () => {
  const { source, claims } = setUp()
  let last = 0
  for (let index = 0; index < PER_EPOCH; index++) last = await source.next()
  expect(claims).toEqual([1, 2])
  expect(last).toBe(2 * PER_EPOCH + 1)
})

it('says that it is not alone any more, until it has announced itself', async () => {
  const { source, claimElsewhere } = setUp()
  expect(await source.sole()).toBe(true)
  const theirs = claimElsewhere()
  expect(await source.sole()).toBe(false)
  await source.announce()
  expect(await source.sole()).toBe(true)
  expect(await source.next()).toBeGreaterThan(theirs * PER_EPOCH)
})

it('does not forget a rival whose epoch it went past while minting', async () => {
  const { source, claimElsewhere } = setUp()
  await source.next()
  const theirs = claimElsewhere()
  expect(await source.next(theirs * PER_EPOCH + 1)).toBe((theirs + 1) * PER_EPOCH + 1)
  expect(await source.sole()).toBe(false)
  await source.announce()
  expect(await source.sole()).toBe(true)
})

it('refuses to go where a double cannot count', async () => {
  const { source } = setUp()
  await expect(source.next(Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await expect(source.next()).resolves.toBe(PER_EPOCH + 1)
})
