import { expect, it } from 'vitest'
import { corruptions, failures, tallyText } from '../../scripts/faults/corruptions.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()

// Fixed, so that a red run is a change's fault; scripts/faults/corruptions.ts takes new ones.
const seeds = [
  ['none', 4, 300],
  ['none', 71_931, 200],
  ['mac', 4, 100],
  ['seal', 4, 100],
] as const
it.each(seeds)('auth %s: no damage that seed %i does is served', async (mode, seed, count) => {
  const tallies = await corruptions(python, { dir: await tempDir(), mode, count, seed })
  expect(failures(tallies), tallyText(tallies, `seed ${seed}`)).toBe(0)
  for (const kind of ['bit flip in a tensor', 'cut short', 'two objects swapped', 'header of another object']) {
    // Damage to tensors or rows that nobody asked for cannot be seen, and is none to the reader.
    expect(tallies[kind]?.detected, kind).toBeGreaterThan(0)
  }
})
