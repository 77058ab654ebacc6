import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { EventBody } from '../../../src/report/events/events.ts'
import { EventsFile } from '../../../src/report/events/events-file.ts'
import { reportHtml } from '../../../src/report/page/report-html.ts'
import { linear } from '../../../src/report/page/scale.ts'
import { writeReport } from '../../../src/report/page/write-report.ts'
import { stamped, trainStarted, wholeRun } from '../sample-run.ts'

const page = reportHtml({ events: stamped(wholeRun), unreadable: 1, config: 'version: 1\n' })

describe('report.html', () => {
  it('has every curve, with an accessible table of the same figures', () => {
    const titles = ['Loss', 'Loss by draft position', 'Accuracy by draft position', 'Acceptance rate by draft position']
    const rates = ['Learning rate', 'Gradient norm', 'Throughput', 'Compute rate', 'Waiting for data']
    const held = ['simulated accept length', 'loss', 'loss by draft position', 'accuracy by draft position']
    for (const title of [...titles, ...rates, ...held.map((name) => `Validation: ${name}`)]) {
      expect(page).toContain(`>${title}</h3>`)
      expect(page).toContain(`<caption>${title}</caption>`)
    }
    expect(page.match(/<svg [^>]*role="img"/g)).toHaveLength(9 + 5)
    expect(page).toContain('<th scope="row">10</th><td>8.5</td>')
    expect(page).toContain('<th scope="row">100</th><td>4.25</td><td>5.25</td>')
    expect(page).toContain('<th scope="row">50</th><td>1.25</td>')
  })

  it('shows data health, tau with acceptance by position, and the config', () => {
    for (const text of [
      '1.413',
      '1.450',
      '33 %',
      'Skipped',
      '<td>13</td>',
      '61,880',
      'Unreadable events',
      'version: 1',
    ]) {
      expect(page).toContain(text)
    }
  })

  it('names the draft that was evaluated, and shows no error of a read-only command that failed later', () => {
    expect(page).toContain('Draft: <code>/runs/demo/checkpoints/step-000100</code>')
    const readOnly = { event: 'failed', code: 'CONFIG_INVALID', message: 'no prompts', onlyLooked: true } as const
    const later = reportHtml({ events: stamped([...wholeRun, readOnly]), unreadable: 0, config: null })
    expect(later).not.toContain('role="alert"')
    expect(later).toContain('1.413')
  })

  it('does not count held-out samples as trained on', () => {
    expect(page).toContain('<dt>Trained on</dt><dd>233<small>of 238 samples, 5 held out</small>')
    const [produced, started] = [wholeRun.slice(0, 3), { ...trainStarted(null), samples: 238, heldOut: 0 } as EventBody]
    const without = reportHtml({ events: stamped([...produced, started]), unreadable: 0, config: null })
    expect(without).toContain('<dd>61,880<small>tokens in 238 samples</small>')
  })

  it('shows the memory of the training by part, in GiB, and counts spikes', () => {
    expect(page).toContain('Peak 12.0 GiB on the device of 13.0 reserved, 2.00 GiB resident on the host, step 100')
    expect(page).toContain('<th scope="row">optimiser state</th><td>3.00</td>')
    expect(page).toContain('<th scope="row">activations and the rest</th><td>0.94</td>')
    expect(page).toMatch(/Spikes<\/th><td>1<\/td>/)
  })

  it('has no section for a validation that the run does not have', () => {
    const without = wholeRun.filter(({ event }) => event !== 'train.validation')
    expect(reportHtml({ events: stamped(without), unreadable: 0, config: null })).not.toContain('Validation')
  })

  it('needs no network and runs no script', () => {
    expect(page).not.toMatch(/<script|<link|src=|@import|url\(|https?:/)
    expect(page).toContain("default-src 'none'")
  })

  it('escapes what comes from outside, in text and in attributes', () => {
    const evil = `"><img src=x onerror=alert(1)>'&`
    const events = stamped([...wholeRun, { event: 'failed', code: evil, message: evil }]).map((e) => ({
      ...e,
      runId: evil,
    }))
    const text = reportHtml({ events, unreadable: 0, config: `a: ${evil}` })
    expect(text).not.toContain('<img')
    expect(text.match(/&quot;&gt;&lt;img src=x onerror=alert\(1\)&gt;&#39;&amp;/g)?.length).toBeGreaterThanOrEqual(5)
  })

  it('works without any event', () => {
    const empty = reportHtml({ events: [], unreadable: 0, config: null })
    expect(empty).toContain('No events yet')
    expect(empty).toContain('Nothing measured yet')
    expect(empty).not.toContain('NaN')
  })

  it('is written beside the events it was made from', async () => {
    const dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-report-'))
    {
      using log = new EventsFile({
        dir,
        runId: 'demo',
        clock: { now: () => 1_700_000_000_000 },
      })
      for (const body of wholeRun) log.emit(body)
    }
    const file = await writeReport(dir)
    expect(await readFile(file, 'utf8')).toContain('draftbridge run demo')
    await rm(dir, { recursive: true })
  })
})

describe('scale', () => {
  it('labels round numbers that enclose the values', () => {
    const { ticks, at } = linear([0.31, 4.2], [100, 0], true)
    expect(ticks).toEqual([0, 1, 2, 3, 4, 5])
    expect([at(0), at(5)]).toEqual([100, 0])
  })

  it('gives a flat line and a single point a height', () => {
    for (const values of [[3, 3], [0], []]) {
      const { at, ticks } = linear(values, [100, 0], true)
      const [value, low, high] = [values[0] ?? 0.5, ticks[0] ?? Number.NaN, ticks.at(-1) ?? Number.NaN]
      expect([low < high, low <= value, value <= high]).toEqual([true, true, true])
      expect(at(low)).toBeCloseTo(100)
      expect(at(high)).toBeCloseTo(0)
      expect(at(value)).toBeGreaterThanOrEqual(0)
      expect(at(value)).toBeLessThanOrEqual(100)
    }
  })
})
