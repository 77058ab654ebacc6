import type { Evaluation } from '../../src/report/events/run-history.ts'

/** Taus that differ by less count as equal. */
const TAU_TOLERANCE = 0.01

/** Explains why more draft steps than the draft was trained for (`train.ttt.steps`) do not raise tau. Undefined if they do. */
export function tauNote(evaluation: Evaluation | null, trainedSteps: number): string | undefined {
  const beyond = (evaluation?.bySteps ?? []).filter(({ steps }) => steps > trainedSteps)
  const taus = beyond.map(({ tau }) => tau)
  if (taus.length < 2 || Math.max(...taus) - Math.min(...taus) >= TAU_TOLERANCE) return undefined
  const counts = beyond.map(({ steps }) => steps)
  return `tau is the same at ${counts.slice(0, -1).join(', ')} and ${counts.at(-1)} steps: the draft was trained with train.ttt.steps ${trainedSteps}, so later positions are hardly ever accepted`
}
