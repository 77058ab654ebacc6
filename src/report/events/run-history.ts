import type { EventBody, RunEvent } from './events.ts'
import { producedOf, refusedIn } from './produced-parts.ts'

type Of<K extends EventBody['event']> = Extract<EventBody, { event: K }>
export type Metrics = Of<'train.metrics'>
export type Validation = Of<'train.validation'>
export type Spike = Of<'train.spike'>
export type Produced = Of<'produce.progress'> | Of<'produce.finished'>
export type Evaluation = Of<'eval.finished'>
export type Generated = Of<'generate.finished'>

/** A run computed from its events. Each step occurs once, also when a restart repeated it. */
export interface RunHistory {
  readonly runId: string | null
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly produced: Produced | null
  /** Bad inputs of the last start of the producer, by kind. */
  readonly refused: readonly Of<'produce.refused'>[]
  readonly trainStarted: Of<'train.started'> | null
  readonly metrics: readonly Metrics[]
  readonly validations: readonly Validation[]
  readonly spikes: readonly Spike[]
  /** The newest measurement. */
  readonly memory: Of<'train.memory'> | null
  /** Samples that training could not read: the first event of each. */
  readonly lost: readonly Of<'sample.corrupt'>[]
  readonly checkpoint: Of<'train.checkpoint'> | null
  readonly trained: Of<'train.finished'> | null
  /** Seconds of training, summed over all starts that finished. */
  readonly trainSeconds: number
  readonly restarts: number
  readonly evaluation: Evaluation | null
  readonly generated: Generated | null
  readonly failure: Of<'failed'> | null
}

export function runHistory(events: readonly RunEvent[]): RunHistory {
  const bodies = events.map((event) => event.body)
  const starts = all(bodies, 'train.started')
  const steps = stepsOf(bodies)
  const trained = all(bodies, 'train.finished')
  const last = bodies.findLast((body) => body.event !== 'failed' || body.onlyLooked !== true)
  return {
    runId: events.at(-1)?.runId ?? null,
    startedAt: events[0]?.ts ?? null,
    endedAt: events.at(-1)?.ts ?? null,
    produced: producedOf(bodies),
    refused: refusedIn(bodies),
    trainStarted: starts.at(-1) ?? null,
    metrics: all(steps, 'train.metrics'),
    validations: all(steps, 'train.validation'),
    spikes: all(steps, 'train.spike'),
    memory: all(bodies, 'train.memory').at(-1) ?? null,
    lost: lostIn(bodies),
    checkpoint: all(bodies, 'train.checkpoint').at(-1) ?? null,
    trained: trained.at(-1) ?? null,
    trainSeconds: trained.reduce((sum, body) => sum + body.seconds, 0),
    restarts: Math.max(0, starts.length - 1),
    evaluation: all(bodies, 'eval.finished').at(-1) ?? null,
    generated: all(bodies, 'generate.finished').at(-1) ?? null,
    // Only a failure after which nothing else happened is the state of the run.
    failure: last?.event === 'failed' ? last : null,
  }
}

function all<K extends EventBody['event']>(bodies: readonly EventBody[], event: K): Of<K>[] {
  return bodies.filter((body): body is Of<K> => body.event === event)
}

function lostIn(bodies: readonly EventBody[]): readonly Of<'sample.corrupt'>[] {
  const first = new Map<string, Of<'sample.corrupt'>>()
  for (const body of all(bodies, 'sample.corrupt')) if (!first.has(body.sampleId)) first.set(body.sampleId, body)
  return [...first.values()]
}

type Stepped = Metrics | Validation | Spike

/** Events with a step. A restart repeats the steps after its checkpoint, so the later events replace the earlier ones. */
function stepsOf(bodies: readonly EventBody[]): Stepped[] {
  let kept: Stepped[] = []
  for (const body of bodies) {
    if (body.event === 'train.started') kept = kept.filter(({ step }) => step <= (body.resumedFrom ?? 0))
    if (body.event === 'train.metrics' || body.event === 'train.validation' || body.event === 'train.spike') {
      kept.push(body)
    }
  }
  return kept
}
