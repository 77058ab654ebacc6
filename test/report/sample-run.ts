import type { EventBody, RunEvent } from '../../src/report/events/events.ts'

export const produced = {
  inputs: 240,
  samples: 238,
  skipped: 2,
  refused: 0,
  repeats: 3,
  cut: 13,
  resumed: 0,
  linked: 0,
  tokens: 61_880,
  lossTokens: 45_220,
  bytes: 285_212_672,
}

export function metrics(step: number, loss: number): EventBody {
  return {
    event: 'train.metrics',
    step,
    totalSteps: 100,
    epoch: 0,
    loss,
    gradNorm: 0.5,
    lr: 1e-3,
    ploss: [loss, loss + 1],
    acc: [0.25, null],
    acceptanceRate: [0.2, 0.1],
    tokensPerSecond: 1234.5,
    dataWaitShare: 0.02,
    kernelBuilds: 0,
    tflops: 0.0412,
    peakShare: 0.34,
  }
}

export const trainStarted = (resumedFrom: number | null): EventBody => ({
  event: 'train.started',
  ranks: 2,
  samples: 233,
  leftOver: 1,
  totalSteps: 100,
  heldOut: 5,
  parameters: 9_830_000,
  resumedFrom,
  device: 'x86_64 CPU, 1 thread(s)',
  peakTflops: 0.0606,
  deterministic: false,
})

export const memory = {
  parameters: 1.5 * 2 ** 30,
  gradients: 1.5 * 2 ** 30,
  optimizer: 3 * 2 ** 30,
  frozen: 2 ** 30,
  buffers: 4 * 2 ** 30,
  batches: 2 ** 26,
  allocated: 12 * 2 ** 30,
  reserved: 13 * 2 ** 30,
  host: 2 ** 31,
}

export const memoryReported = (step: number, at: 'start' | 'end'): EventBody => ({
  event: 'train.memory',
  at,
  step,
  ranks: 2,
  memory,
})

export const validated = (step: number, simulatedAcceptLength: number): EventBody => ({
  event: 'train.validation',
  step,
  epoch: 0,
  samples: 5,
  tokens: 900,
  lossTokens: 400,
  loss: 5.5,
  ploss: [5, 6],
  acc: [0.625, 0.5],
  acceptanceRate: [0.4, 0.3],
  simulatedAcceptLength,
  seconds: 1.25,
})

const suspects = [
  { rank: 0, sampleIds: ['a', 'b', 'c'] },
  { rank: 1, sampleIds: ['d', 'e'] },
]
export const spike = (step: number, value = 35): EventBody => ({
  event: 'train.spike',
  step,
  of: 'gradNorm',
  value,
  typical: 0.5,
  samples: suspects,
})
export const notFinite: EventBody = {
  event: 'train.notFinite',
  step: 31,
  found: 'loss nan, gradient norm nan',
  samples: suspects.slice(1),
}

export const rehearsed: Extract<EventBody, { event: 'train.rehearsed' }> = {
  event: 'train.rehearsed',
  step: 1,
  totalSteps: 100,
  ranks: 2,
  microSteps: 4,
  gradNorm: 12.5,
  loss: 9,
  ploss: [5, 5],
  acc: [0, 0],
  acceptanceRate: [0, 0],
  tokens: 8192,
  lossTokens: 4000,
  startSeconds: 9.04,
  loadSeconds: 0.4,
  stepSeconds: 1.2,
  memory,
}

export const evaluated = (lossless = true): EventBody => ({
  event: 'eval.finished',
  draft: '/runs/demo/checkpoints/step-000100',
  prompts: 8,
  lossless,
  plainTokensPerSecond: 20,
  bySteps: [
    { steps: 3, tau: 1.4125, tokensPerSecond: 19, acceptance: [0.33, 0.28, null] },
    { steps: 5, tau: 1.45, tokensPerSecond: 18, acceptance: [0.33, 0.28, 0.3, 0.2, 0.1] },
  ],
})

/** Stamped one second apart. */
export function stamped(bodies: readonly EventBody[]): RunEvent[] {
  return bodies.map((body, index) => ({ v: 1, ts: 1_700_000_000_000 + index * 1000, runId: 'demo', body }))
}

export const wholeRun: readonly EventBody[] = [
  { event: 'produce.started', source: 'capture', total: 240 },
  { event: 'produce.progress', total: 240, ...produced, samples: 100 },
  { event: 'produce.finished', manifest: '/m', seconds: 48, ...produced },
  trainStarted(null),
  memoryReported(1, 'start'),
  metrics(10, 8.5),
  metrics(20, 7),
  spike(25),
  validated(50, 1.25),
  metrics(100, 4.25),
  validated(100, 0.9375),
  memoryReported(100, 'end'),
  { event: 'train.checkpoint', step: 100, dir: '/runs/demo/checkpoints/step-000100' },
  { event: 'train.finished', step: 100, seconds: 143, checkpoint: '/runs/demo/checkpoints/step-000100' },
  { event: 'eval.started', prompts: 8, steps: [3, 5] },
  evaluated(),
]
