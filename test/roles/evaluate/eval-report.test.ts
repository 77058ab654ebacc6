import { describe, expect, it } from 'vitest'
import type { Decoded } from '../../../src/bridge/ops.ts'
import { EventBody } from '../../../src/report/events/events.ts'
import {
  type Answer,
  buildEvalReport,
  checkEvalReport,
  EvalReport,
  evalFinished,
  firstDifference,
} from '../../../src/roles/evaluate/eval-report.ts'

const SUBJECT = { draft: 'drafts/a', target: 'target', dtype: 'fp32', maxNewTokens: 8 } as const

function decoded(outputIds: number[], passes: number, about: Partial<Decoded> = {}): Decoded {
  return { outputIds, tokens: outputIds.length - 1, passes, accepted: [], proposed: [], seconds: 1, ...about }
}

const answers: Answer[] = [
  {
    id: 'a',
    plain: decoded([1, 2, 3, 4, 5], 4, { seconds: 2 }),
    drafted: new Map([[2, decoded([1, 2, 3, 4, 5], 2, { accepted: [1, 1], proposed: [2, 1], seconds: 0.5 })]]),
  },
  {
    id: 'b',
    plain: decoded([1, 2, 3], 2),
    drafted: new Map([[2, decoded([1, 2, 3], 2, { accepted: [0, 0], proposed: [2, 0], seconds: 0.5 })]]),
  },
]

describe('the report of an evaluation', () => {
  const report = buildEvalReport(SUBJECT, [2], answers)

  it('pools tokens and passes over the prompts before it divides', () => {
    expect(report.tau).toEqual({ 2: 6 / 4 })
  })

  it('gives acceptance by position, given that the positions before were accepted', () => {
    expect(report.acceptance).toEqual({ 2: [1 / 4, 1] })
  })

  it('compares the speed with plain decoding', () => {
    expect(report.speed).toEqual({ plainTokensPerSecond: 2, bySteps: { 2: { tokensPerSecond: 6, speedUp: 3 } } })
  })

  it('has a row per prompt and number of steps, and the plain outputs beside them', () => {
    expect(report.prompts).toEqual([
      { id: 'a', steps: 2, tokens: 4, passes: 2, outputIds: [1, 2, 3, 4, 5] },
      { id: 'b', steps: 2, tokens: 2, passes: 2, outputIds: [1, 2, 3] },
    ])
    expect(report.plain.map(({ id, tokens }) => [id, tokens])).toEqual([
      ['a', 4],
      ['b', 2],
    ])
    expect(EvalReport.parse(JSON.parse(JSON.stringify(report)))).toEqual(report)
  })

  it('is lossless only when every output is that of plain decoding, and names the first token that is not', () => {
    expect(report).toMatchObject({ lossless: true, losslessShare: 1, differences: [] })
    const [a, b] = answers as [Answer, Answer]
    const broken = { ...b, drafted: new Map([[2, decoded([1, 9, 3], 2)]]) }
    expect(buildEvalReport(SUBJECT, [2], [a, broken])).toMatchObject({
      lossless: false,
      losslessShare: 0.5,
      differences: [{ id: 'b', steps: 2, index: 1 }],
    })
  })

  it('stands prompts without a single pass', () => {
    const silent: Answer = { id: 'c', plain: decoded([2], 0), drafted: new Map([[2, decoded([2], 0)]]) }
    expect(buildEvalReport(SUBJECT, [2], [...answers, silent]).tau).toEqual({ 2: 6 / 4 })
    const alone = buildEvalReport(SUBJECT, [2], [silent])
    expect(alone).toMatchObject({ tau: { 2: 0 }, acceptance: { 2: [null, null] }, lossless: true })
    expect(JSON.stringify(alone)).not.toContain('NaN')
  })

  it('is refused when drafting changed an output in fp32, and names the prompts', () => {
    const [a, b] = answers as [Answer, Answer]
    const changed = [a, { ...b, drafted: new Map([[2, decoded([1, 9, 3], 2)]]) }]
    const broken = buildEvalReport(SUBJECT, [2], changed)
    const details = expect.objectContaining({ file: 'run/eval.json', field: 'differences' })
    const refused = expect.objectContaining({ code: 'CONTRACT_MISMATCH', details })
    expect(() => checkEvalReport(broken, 'run/eval.json')).toThrow(refused)
    expect(() => checkEvalReport(broken, 'run/eval.json')).toThrow(/b \(2 steps, token 1\)/)
    expect(() => checkEvalReport(buildEvalReport({ ...SUBJECT, dtype: 'bf16' }, [2], changed), 'f')).not.toThrow()
    expect(() => checkEvalReport(report, 'f')).not.toThrow()
  })

  it('is refused when no prompt had a verify pass', () => {
    const silent: Answer = { id: 'c', plain: decoded([2], 0), drafted: new Map([[2, decoded([2], 0)]]) }
    const nothing = expect.objectContaining({ code: 'CONFIG_INVALID' })
    expect(() => checkEvalReport(buildEvalReport(SUBJECT, [2], [silent]), 'f')).toThrow(nothing)
  })

  it('becomes an event that the run log accepts', () => {
    const event = evalFinished(report)
    expect(EventBody.parse(event)).toEqual(event)
    expect(event).toMatchObject({ prompts: 2, bySteps: [{ steps: 2, tau: 1.5, acceptance: [0.25, 1] }] })
  })
})

describe('the first difference of two outputs', () => {
  it.each([
    [[1, 2], [1, 2], null],
    [[1, 3], [1, 2], 1],
    [[1], [1, 2], 1],
    [[1, 2, 3], [1, 2], 2],
    [[], [], null],
  ])('of %j and %j is at %j', (found, expected, index) => {
    expect(firstDifference(found, expected)).toBe(index)
  })
})
