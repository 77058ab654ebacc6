import { expect, it } from 'vitest'
import type { EventBody } from '../../../src/report/events/events.ts'
import { NO_FIGURES, producedOf, refusedIn } from '../../../src/report/events/produced-parts.ts'

const progress = (samples: number, part?: { index: number; count: number }): EventBody => {
  const figures = { ...NO_FIGURES, inputs: samples, samples, tokens: samples * 10 }
  return { event: 'produce.progress', total: 9, ...figures, ...(part === undefined ? {} : { part }) }
}
const started = (index: number, count: number): EventBody => {
  return { event: 'produce.started', source: 'capture', total: 3, part: { index, count } }
}
const refused = (why: string, places: readonly string[], index: number, count: number): EventBody => {
  return { event: 'produce.refused', why, samples: places.length, places, part: { index, count } }
}
const [first, second] = [
  { index: 0, count: 2 },
  { index: 1, count: 2 },
]

it('the last event of one producer is what was produced', () => {
  expect(producedOf([])).toBeNull()
  expect(producedOf([progress(1), progress(4)])).toMatchObject({ samples: 4 })
})

it('the last events of all parts are summed, those of another number of parts left out', () => {
  const events = [
    progress(50),
    progress(7, { index: 0, count: 3 }),
    progress(1, first),
    progress(2, second),
    progress(4, first),
  ]
  expect(producedOf(events)).toMatchObject({ samples: 6, tokens: 60, inputs: 6 })
  expect(producedOf([...events, progress(9)])).toMatchObject({ samples: 9 })
})

it('bad inputs of all parts come by reason, with the first five places, from the last start of each', () => {
  const events = [
    ...[started(0, 2), refused('no text', ['f:1'], 0, 2)],
    ...[started(0, 2), started(1, 2), refused('no text', ['f:12', 'f:101', 'f:200'], 0, 2)],
    ...[refused('no text', ['f:3', 'f:20', 'f:1001'], 1, 2), refused('too long', ['f:5'], 1, 2)],
  ]
  expect(refusedIn(events)).toEqual([
    { event: 'produce.refused', why: 'no text', samples: 6, places: ['f:3', 'f:12', 'f:20', 'f:101', 'f:200'] },
    { event: 'produce.refused', why: 'too long', samples: 1, places: ['f:5'] },
  ])
})
