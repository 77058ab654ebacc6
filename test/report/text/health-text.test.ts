import { describe, expect, it } from 'vitest'
import { fewBuckets } from '../../../src/report/text/bars.ts'
import { healthText } from '../../../src/report/text/health-text.ts'
import { sampleHealth } from '../sample-health.ts'

const text = healthText(sampleHealth())
const rows = (name: string) => {
  const lines = text.split('\n')
  const first = lines.findIndex((line) => line.startsWith(name))
  return [
    lines[first] ?? '',
    ...lines.slice(first + 1).slice(
      0,
      lines.slice(first + 1).findIndex((l) => /^\S/.test(l)),
    ),
  ]
}

describe('the health of data as text', () => {
  it('has the counts, with the reasons and their places', () => {
    expect(text).toMatch(/^inputs +1,000,000 {2}conversations or files$/m)
    expect(text).toMatch(/^used +999,968 {2}samples: 123,456,789 tokens, 45,678,901 trained/m)
    expect(text).toMatch(/^skipped +12 {2}samples without a trained token; not stored; 3 of them$/m)
    expect(text).toMatch(/^refused +20 {2}inputs that are bad; not stored$/m)
    expect(text).toMatch(/^NaN or Inf +3 {2}refused samples, first in aux_hidden_state, layer 12$/m)
    expect(text).toMatch(/^repeats +9 {2}samples with the ids and the mask of an earlier one/m)
    expect(text.match(/^ {4}talks\.jsonl:8: messages\.0\.content: nothing$/gm)).toHaveLength(4)
  })

  it('says when the producer ended early, and shows less where nobody counted', () => {
    const health = sampleHealth()
    const { produced } = health
    if (produced === null) throw new Error('no counts')
    const early = healthText({ ...health, produced: { ...produced, inputs: 7, whole: false } })
    expect(early).toMatch(/^inputs +7 {2}of 1,000,000 so far$/m)
    const older = healthText({ ...health, produced: null, vocabulary: null, shown: null })
    expect(older.split('\n').map((line) => line.split(' ')[0])).toEqual(
      expect.arrayContaining(['used', 'cut', 'tokens']),
    )
    expect(older).not.toMatch(/^(inputs|refused|vocabulary|samples)/m)
  })

  it('is plain characters in lines of at most 80, and histograms of at most 12 rows', () => {
    for (const line of text.split('\n')) {
      expect(line.length, line).toBeLessThanOrEqual(80)
      expect(line).toMatch(/^[\x20-\x7e]*$/)
      expect(line).toBe(line.trimEnd())
    }
    expect(rows('tokens each')).toHaveLength(12)
    expect(rows('trained')).toHaveLength(10)
  })

  it('does not show everything as covered when a token is missing', () => {
    expect(text).toMatch(/^ +1,024 {3}90\.00 % #{27}$/m)
    expect(text).toMatch(/^ +32,000 {3}99\.99 % #{30}$/m)
    expect(text).toMatch(/^ +151,936 {2}100\.00 % #{30}$/m)
  })

  it('marks trained tokens, and gives no text of users a way to act on the terminal', () => {
    const evil = healthText(sampleHealth('\u001b]0;owned\u0007\u001b[2J\u202e \r\u0000x'))
    expect(evil).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
    expect(evil.replaceAll(/\s+/g, ' ')).toContain('>>trained \\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{202e} \\u{d}\\u{0}x<<')
    expect(evil).toContain('[... 2 more parts ...]')
  })
})

it('puts the lowest buckets together and loses no sample', () => {
  for (let length = 0; length < 30; length += 1) {
    const buckets = Array.from({ length }, (_, power) => ({
      from: 2 ** power,
      to: 2 ** (power + 1),
      samples: power + 1,
    }))
    const few = fewBuckets(buckets)
    expect(few.length).toBe(Math.min(12, length))
    const sum = (of: typeof few) => of.reduce((total, { samples }) => total + samples, 0)
    expect(sum(few)).toBe(sum(buckets))
    for (const [at, { from }] of few.entries()) expect(from).toBe(at === 0 ? 1 : few[at - 1]?.to)
    expect(few.at(-1)?.to).toBe(buckets.at(-1)?.to)
  }
})
