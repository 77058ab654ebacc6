import { expect, it } from 'vitest'
import type { EventBody } from '../../../src/report/events/events.ts'
import { NO_FIGURES } from '../../../src/report/events/produced-parts.ts'
import { PartEvents } from '../../../src/roles/produce/part-events.ts'

function scene(count = 2) {
  const seen: EventBody[] = []
  let now = 0
  const time = { now: () => now }
  const sums = new PartEvents({ count, manifest: '/m', events: { emit: (body) => void seen.push(body) }, time })
  const part = (index: number) => ({ index, count })
  return {
    seen,
    sums,
    after: (ms: number) => (now += ms),
    started: (index: number, total: number) =>
      sums.take(index, { event: 'produce.started', source: 'capture', total, part: part(index) }),
    progress: (index: number, samples: number) =>
      sums.take(index, {
        event: 'produce.progress',
        total: 3,
        ...NO_FIGURES,
        samples,
        bytes: samples,
        part: part(index),
      }),
    finished: (index: number, samples: number) =>
      sums.take(index, {
        event: 'produce.finished',
        manifest: '/m/part',
        seconds: 1,
        ...NO_FIGURES,
        samples,
        part: part(index),
      }),
  }
}

it('events of parts come as those of one producer, at most one progress a second', () => {
  const { seen, sums, after, started, progress, finished } = scene()
  started(1, 3)
  progress(1, 1)
  expect(seen).toEqual([])
  started(0, 4)
  expect(seen).toEqual([{ event: 'produce.started', source: 'capture', total: 7 }])
  progress(0, 2)
  progress(1, 2)
  after(1000)
  progress(1, 3)
  const shown = { event: 'produce.progress', total: 7, ...NO_FIGURES }
  expect(seen.slice(1)).toEqual([
    { ...shown, samples: 3, bytes: 3 },
    { ...shown, samples: 5, bytes: 5 },
  ])
  finished(0, 4)
  finished(1, 3)
  sums.take(0, { event: 'produce.copied', why: 'no link', samples: 2 })
  sums.take(1, { event: 'produce.copied', why: 'no link', samples: 1 })
  after(500)
  sums.finish()
  expect(seen.slice(3)).toEqual([
    { ...shown, samples: 7 },
    { event: 'produce.copied', why: 'no link', samples: 3 },
    { event: 'produce.finished', manifest: '/m', seconds: 1.5, ...NO_FIGURES, samples: 7 },
  ])
})

it('bad inputs are told once by reason, also of parts that were stopped; other events pass', () => {
  const { seen, sums } = scene()
  sums.take(1, { event: 'produce.refused', why: 'no text', samples: 1, places: ['f:9'] })
  sums.take(0, { event: 'produce.refused', why: 'no text', samples: 2, places: ['f:2', 'f:10'] })
  sums.take(0, { event: 'claim.waiting', folder: '/m', seconds: 3 })
  sums.endEarly()
  expect(seen).toEqual([
    { event: 'claim.waiting', folder: '/m', seconds: 3 },
    { event: 'produce.refused', why: 'no text', samples: 3, places: ['f:2', 'f:9', 'f:10'] },
  ])
})
