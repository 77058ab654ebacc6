import { describe, expect, it } from 'vitest'
import { runHistory } from '../../../src/report/events/run-history.ts'
import { dryRunText } from '../../../src/report/text/dry-run-text.ts'
import { summaryText } from '../../../src/report/text/summary.ts'
import { evaluated, metrics, rehearsed, spike, stamped, trainStarted, validated, wholeRun } from '../sample-run.ts'

describe('summary', () => {
  const text = summaryText(stamped(wholeRun), { report: '/r.html', next: 'draftbridge eval' })

  it('gives losses first to last, tau by draft steps, counts of lost data and the hints', () => {
    expect(text).toContain('8.5 -> 4.25 (step 10 to 100 of 100, 2:23 min)')
    expect(text).toContain('1.413 at 3 draft steps, 1.450 at 5 draft steps (8 held-out prompts)')
    expect(text).toContain('\n            draft /runs/demo/checkpoints/step-000100')
    expect(text).toContain('2 samples skipped: no trained token')
    expect(text).toContain('3 samples with the ids and the mask of an earlier one; used all the same')
    expect(text).toContain('13 samples cut at data.maxLength or')
    expect(text).toContain('1 sample per epoch dropped')
    expect(text).toContain('238 samples, 61,880 tokens (45,220 trained), 272 MiB')
    expect(text).toContain('233 samples for training, 5 held out')
    expect(text).toMatch(/draft +\/runs\/demo\/checkpoints\/step-000100/)
    expect(text).toMatch(/report +\/r\.html/)
    expect(text).toMatch(/next +draftbridge eval/)
  })

  it('gives the newest validation and the best one, the speed, the memory and the worst spike', () => {
    expect(text).toMatch(/validated simulated accept length 0\.938 at step 100; best 1\.250 at step 50\n/)
    expect(text).toContain('loss 5.5, accuracy 63 % on 5 held-out samples')
    expect(text).toMatch(/speed +1,235 tokens\/s, 0\.0412 TFLOP\/s \(34 % of peak\)/)
    expect(text).toMatch(/memory +peak 12\.0 GiB on the device of 13\.0 reserved, .*\(maximum over 2 ranks\)/)
    expect(text).toContain('parameters 1.50 · gradients 1.50 · optimiser state 3.00 · embedding and head 1.00\n')
    expect(text).toContain('unroll buffers 4.00 · prefetched batches 0.063 · activations and the rest 0.94')
    expect(text).toMatch(/spikes +1; the worst at step 25: gradient norm 35, usually 0\.5/)
  })

  it('says that the newest validation is the best where it is', () => {
    expect(summaryText(stamped([metrics(1, 2), validated(1, 0.5)]))).toContain('0.500 at step 1, the best so far')
  })

  it('does not call a slow-down a speed-up', () => {
    expect(text).toContain('0.95x at 3 draft steps (19 against 20 tokens/s): no gain on this machine')
    const weak = { ...evaluated(true), bySteps: [{ steps: 3, tau: 1.05, tokensPerSecond: 19, acceptance: [] }] }
    expect(summaryText(stamped([weak]))).toContain('no gain, because the target takes too few draft tokens')
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

  it('ignores the failure of a read-only command, but not the failure before it', () => {
    const readOnly = { event: 'failed', code: 'CONFIG_INVALID', message: 'no prompts', onlyLooked: true } as const
    const failed = { event: 'failed', code: 'RANK_DIED', message: 'rank 1 died' } as const
    expect(summaryText(stamped([...wholeRun, readOnly]))).not.toContain('stopped')
    expect(summaryText(stamped([metrics(1, 2), failed, readOnly]))).toContain('stopped   RANK_DIED')
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

  it('forgets validations and spikes of steps that were done again', () => {
    const start = [trainStarted(null), validated(10, 1), spike(15), validated(20, 2)]
    const history = runHistory(stamped([...start, trainStarted(10), validated(20, 3)]))
    expect(history.validations.map((at) => [at.step, at.simulatedAcceptLength])).toEqual([
      [10, 1],
      [20, 3],
    ])
    expect(history.spikes).toEqual([])
  })

  it('starts over when a run starts fresh', () => {
    const history = runHistory(stamped([trainStarted(null), metrics(10, 9), trainStarted(null), metrics(10, 8)]))
    expect(history.metrics.map(({ loss }) => loss)).toEqual([8])
  })

  it('is empty without events', () => {
    expect(runHistory([])).toMatchObject({ runId: null, metrics: [], produced: null, failure: null })
  })
})

describe('a dry run', () => {
  it('gives losses, tokens, memory and time, and says that nothing was written', () => {
    const text = dryRunText(rehearsed, 'draftbridge train')
    for (const part of [
      'step 1 of 100 on 2 ranks works; nothing was written to disk',
      '9, by draft position 5 5',
      '8,192 (4,000 trained) in 4 micro-steps',
      'peak 12.0 GiB on the device',
      'start 9.0 s, first batch 0.4 s, step 1.2 s',
      'draftbridge train',
    ]) {
      expect(text).toContain(part)
    }
  })

  it('of a finished run says so', () => {
    expect(dryRunText(null, 'x')).toContain('finished')
  })
})
