import { describe, expect, it } from 'vitest'
import { runHistory } from '../../src/report/run-history.ts'
import { summaryText } from '../../src/report/summary.ts'
import { evaluated, metrics, stamped, trainStarted, wholeRun } from './sample-run.ts'

describe('summary', () => {
  const text = summaryText(stamped(wholeRun), { report: '/r.html', next: 'draftbridge eval' })

  it('gives losses first to last, tau by steps, counts of lost data and the places', () => {
    expect(text).toContain('8.5 -> 4.25 (step 10 to 100 of 100, 2:23 min)')
    expect(text).toContain('1.413 at 3 steps, 1.450 at 5 steps (8 held-out prompts)')
    expect(text).toContain('2 samples skipped')
    expect(text).toContain('13 samples cut')
    expect(text).toContain('1 sample an epoch left over')
    expect(text).toContain('238 samples, 61,880 tokens (45,220 trained on), 272 MiB')
    expect(text).toMatch(/draft +\/runs\/demo\/checkpoints\/step-000100/)
    expect(text).toMatch(/report +\/r\.html/)
    expect(text).toMatch(/next +draftbridge eval/)
  })

  it('does not call a slow-down a speed-up', () => {
    expect(text).toContain('0.95x at 3 steps (19 against 20 tokens/s): no gain on this machine')
  })

  it('warns of a draft whose output differs from plain decoding', () => {
    expect(summaryText(stamped([evaluated(false)]))).toContain('DIFFER')
    expect(text).toContain('output ids equal plain greedy decoding')
  })

  it('names the failure that ended a run, and forgets one that a later start got past', () => {
    const failed = { event: 'failed', code: 'RANK_DIED', message: 'rank 1 died\nstack' } as const
    expect(summaryText(stamped([metrics(1, 2), failed]))).toContain('stopped   RANK_DIED: rank 1 died')
    expect(summaryText(stamped([failed, metrics(1, 2)]))).not.toContain('RANK_DIED')
  })
})

describe('history', () => {
  it('counts steps that a restart did again once, with their second figures', () => {
    const history = runHistory(
      stamped([trainStarted(null), metrics(10, 9), metrics(20, 8), trainStarted(10), metrics(20, 7), metrics(30, 6)]),
    )
    expect(history.metrics.map(({ step, loss }) => [step, loss])).toEqual([
      [10, 9],
      [20, 7],
      [30, 6],
    ])
    expect(history.restarts).toBe(1)
  })

  it('starts over when a run starts fresh', () => {
    const history = runHistory(stamped([trainStarted(null), metrics(10, 9), trainStarted(null), metrics(10, 8)]))
    expect(history.metrics.map(({ loss }) => loss)).toEqual([8])
  })

  it('is empty without events', () => {
    expect(runHistory([])).toMatchObject({ runId: null, metrics: [], produced: null, failure: null })
  })
})
