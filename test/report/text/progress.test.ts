import { describe, expect, it } from 'vitest'
import type { RunEvent } from '../../../src/report/events/events.ts'
import { Progress, type ProgressOptions, type Screen } from '../../../src/report/text/progress.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { memoryReported, metrics, notFinite, spike, stamped, trainStarted, validated, wholeRun } from '../sample-run.ts'

function screen(isTTY: boolean, columns = 200) {
  const written: string[] = []
  return { isTTY, columns, write: (text: string) => written.push(text), written }
}

/** Shows events a second apart. */
function shown(out: Screen, options: Partial<ProgressOptions> = {}) {
  const time = new FakeMonotonic()
  const progress = new Progress({ screen: out, env: {}, time, ...options })
  return (events: readonly RunEvent[]) => {
    for (const event of events) {
      progress.show(event)
      time.advance(1000)
    }
  }
}

const steps = stamped([trainStarted(null), ...Array.from({ length: 20 }, (_, i) => metrics((i + 1) * 5, 5))])

describe('without a terminal', () => {
  it('writes a whole line every few seconds at most, and no control codes', () => {
    const out = screen(false)
    shown(out, { every: 5000 })(steps)
    expect(out.written).toHaveLength(1 + 4)
    expect(out.written.every((text) => text.endsWith('\n') && !text.includes('\u001b') && !text.includes('\r'))).toBe(
      true,
    )
  })

  it('gives rate and time left, counted from the step it resumed at', () => {
    const out = screen(false)
    shown(out, { every: 0 })(stamped([trainStarted(50), metrics(60, 5)]))
    expect(out.written[1]).toContain('step 60/100')
    expect(out.written[1]).toContain('10 steps/s · 4 s left')
  })

  it('measures rates by its own time, however the clock of the events steps', () => {
    const out = screen(false)
    const step = (event: RunEvent, at: number) => ({ ...event, ts: event.ts + (at % 2 === 0 ? 600_000 : -600_000) })
    shown(out, { every: 1000 })(stamped([trainStarted(50), metrics(60, 5), metrics(70, 5)]).map(step))
    expect(out.written.slice(1)).toEqual([
      expect.stringContaining('10 steps/s · 4 s left'),
      expect.stringContaining('10 steps/s · 3 s left'),
    ])
  })

  it('shows every milestone, with its label', () => {
    const out = screen(false)
    shown(out, { label: 'producer | ' })(stamped(wholeRun))
    expect(out.written.every((text) => text.startsWith('producer | '))).toBe(true)
    const text = out.written.join('')
    expect(text).toContain('features ready: 238 samples')
    expect(text).toContain('tau 1.413 at 3 draft steps')
  })

  it('shows validations, spikes, memory by part, and the step that ended a run', () => {
    const out = screen(false)
    const events = [
      trainStarted(null),
      memoryReported(1, 'start'),
      metrics(2, 3),
      validated(50, 1.25),
      spike(25),
      notFinite,
    ]
    shown(out)(stamped(events))
    const text = out.written.join('')
    expect(text).toContain('233 samples · 5 held out · 100 steps · x86_64 CPU, 1 thread(s), 0.0606 TFLOP/s')
    expect(text).toContain('memory up to step 1 · peak 12.0 GiB on the device')
    expect(text).toMatch(/\n {2}GiB: parameters 1\.50 .*\n {7}unroll buffers 4\.00/)
    expect(text).toContain('1,235 tokens/s · 0.0412 TFLOP/s (34 % of peak) · data wait')
    expect(text).toContain(
      'validation at step 50 · loss 5.5 · acc 0.625 0.5 · simulated accept length 1.250 · 5 samples',
    )
    expect(text).toContain('spike at step 25 · gradient norm 35, usually 0.5 · samples a, b, c, d and 1 more')
    expect(text).toContain('loss not finite at step 31 · loss nan, gradient norm nan · check 2 samples: d, e')
  })

  it('is silent with quiet', () => {
    const out = screen(false)
    shown(out, { quiet: true })(stamped(wholeRun))
    expect(out.written).toEqual([])
  })
})

describe('on a terminal', () => {
  it('rewrites one line no wider than the screen', () => {
    const out = screen(true, 40)
    shown(out, { env: { TERM: 'xterm' } })(steps.slice(1))
    expect(out.written).toHaveLength(20)
    for (const text of out.written) {
      expect(text.startsWith('\r\u001b[2K')).toBe(true)
      expect(text.slice(5).length).toBeLessThan(40)
      expect(text.endsWith('\n')).toBe(false)
    }
  })

  it('is plain where the terminal is dumb or the run is in CI', () => {
    for (const env of [{ TERM: 'dumb' }, { CI: 'true' }]) {
      const out = screen(true)
      shown(out, { env })(steps)
      expect(out.written.join('')).not.toContain('\u001b')
    }
  })
})
