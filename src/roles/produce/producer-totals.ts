import type { SampleRef } from '../../core/sample-ref.ts'
import type { Manifest } from '../../refs/manifest.ts'
import type { EventBody } from '../../report/events/events.ts'

export type Totals = Omit<Extract<EventBody, { event: 'produce.progress' }>, 'event' | 'total' | 'part'>

/** The totals for a manifest that was already complete at the start. */
export function totalsOfComplete({ refs, health }: Pick<Manifest, 'refs' | 'health'>, total: number): Totals {
  // A manifest of an earlier version does not say why inputs gave no sample.
  const skipped = health?.empty ?? Math.max(0, total - refs.length)
  const { refused = 0, duplicates: { samples: repeats } = { samples: 0 } } = health ?? {}
  const sums = { cut: 0, linked: 0, tokens: 0, lossTokens: 0, bytes: 0 }
  const totals = { inputs: total, samples: refs.length, skipped, refused, repeats, resumed: refs.length, ...sums }
  for (const ref of refs) {
    addSample(totals, ref)
  }
  return totals
}

export function addSample(totals: Record<'cut' | 'tokens' | 'lossTokens' | 'bytes', number>, ref: SampleRef): void {
  totals.cut += Number(ref.truncated === true)
  totals.tokens += ref.numTokens
  totals.lossTokens += ref.trainedTokens ?? 0
  totals.bytes += ref.bytes
}
