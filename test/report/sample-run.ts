import type { EventBody, RunEvent } from '../../src/report/events.ts'

export const produced = {
  samples: 238,
  skipped: 2,
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
    tflops: 0.0412,
    peakShare: 0.34,
  }
}

export const trainStarted = (resumedFrom: number | null): EventBody => ({
  event: 'train.started',
  ranks: 2,
  samples: 238,
  leftOver: 1,
  totalSteps: 100,
  heldOut: 5,
  parameters: 9_830_000,
  resumedFrom,
  device: 'x86_64 CPU, 1 thread(s)',
  peakTflops: 0.0606,
  deterministic: false,
})

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
  metrics(10, 8.5),
  metrics(20, 7),
  metrics(100, 4.25),
  { event: 'train.checkpoint', step: 100, dir: '/runs/demo/checkpoints/step-000100' },
  { event: 'train.finished', step: 100, seconds: 143, checkpoint: '/runs/demo/checkpoints/step-000100' },
  { event: 'eval.started', prompts: 8, steps: [3, 5] },
  evaluated(),
]
