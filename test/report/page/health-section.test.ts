import { describe, expect, it } from 'vitest'
import { reportHtml } from '../../../src/report/page/report-html.ts'
import { sampleHealth } from '../sample-health.ts'
import { stamped, wholeRun } from '../sample-run.ts'

const given = { events: stamped(wholeRun), unreadable: 0, config: null }
const page = reportHtml({ ...given, health: sampleHealth() })

describe('data health in report.html', () => {
  it('has the counts of the manifest and not those of the events', () => {
    expect(page).toContain('<th scope="row">Used</th><td>999,968</td>')
    expect(page).toContain(
      '<th scope="row">NaN or Inf</th><td>3</td><td>refused samples, first in aux_hidden_state, layer 12',
    )
    expect(page).toContain('<th scope="row">Repeats</th><td>9</td>')
    expect(page).not.toContain('<th scope="row">Resumed</th>')
    expect(page).toContain('<th scope="row">Held out</th><td>5</td>')
  })

  it('has a picture of each histogram, and the same figures as a table', () => {
    for (const title of ['Tokens per sample', 'Trained share of a sample', 'Reach of a draft vocabulary']) {
      const id = new RegExp(`<h3 id="([^"]+)">${title}</h3>`).exec(page)?.[1]
      expect(page).toContain(`<svg viewBox="0 0 560 250" role="img" aria-labelledby="${id}">`)
      expect(page).toContain(`<caption>${title}</caption>`)
    }
    expect(page.match(/<rect class="bar"/g)).toHaveLength(18 + 10 + 3)
    expect(page).toContain('<th scope="row">32,000</th><td>99.99 %</td>')
    expect(page).toContain('<th scope="row">90 to 100 %</th><td>9</td>')
  })

  it('draws bars as high as their values, from the base line', () => {
    const bars = [...page.matchAll(/y="([\d.]+)" width="[\d.]+" height="([\d.]+)"><title>\d+ to \d+ %: (\d+)</g)]
    expect(bars).toHaveLength(10)
    const unit = Number(bars[9]?.[2]) / 9
    for (const [, y, height, value] of bars) {
      expect(Number(y) + Number(height)).toBeCloseTo(202, 0)
      expect(Number(height)).toBeCloseTo(unit * Number(value), 0)
    }
  })

  it('marks the trained tokens of samples, and has none where none was asked for', () => {
    expect(page).toContain('<mark>trained talks.jsonl')
    expect(page).toContain('2 more parts not shown')
    expect(page).toContain('Not shown: 1 of 10 samples')
    const without = reportHtml({ ...given, health: { ...sampleHealth(), shown: null } })
    expect(without).not.toContain('<mark>')
    expect(without).not.toContain('im_start')
  })

  it('escapes what stands in samples, reasons and places', () => {
    const evil = `</pre></style><script>alert(1)</script>"><img src=x onerror=alert(1)>'&\u0000\u001b\u202e`
    const text = reportHtml({ ...given, health: sampleHealth(evil) })
    expect(text).not.toMatch(/<script|<img|[^\P{Cc}\n]|\u202e/u)
    const escaped = '&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&#39;&amp;'
    // A reason and its two places, a state and its place, a repeat, why samples are missing, a source and two parts.
    expect(text.split(escaped).length - 1).toBe(10)
    expect(text.match(/<\/pre>/g)).toHaveLength(1)
    expect(text.match(/<\/style>/g)).toHaveLength(1)
  })

  it('shows an empty manifest, and says why one cannot be read', () => {
    const nothing = { ...sampleHealth(), samples: 0, tokens: 0, lengths: [], trainedShares: [], vocabulary: null }
    const empty = reportHtml({ ...given, health: nothing })
    expect(empty).not.toContain('NaN</')
    expect(empty).toContain('Nothing counted yet')
    expect(reportHtml({ ...given, health: 'a <bad> root' })).toContain('cannot be shown: a &lt;bad&gt; root')
    const all = {
      ...sampleHealth(),
      trainedShares: sampleHealth().trainedShares.map((one) => ({ ...one, samples: 0 })),
    }
    expect(reportHtml({ ...given, health: all })).not.toMatch(/="(NaN|-?Infinity)"/)
  })
})
