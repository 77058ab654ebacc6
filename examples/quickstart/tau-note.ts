import type { Evaluation } from '../../src/report/events/run-history.ts'

/** Tau differs by less than this where further positions are hardly ever accepted. */
const SAME = 0.01

/** Why more draft steps than the draft was trained for (`train.ttt.steps`) do not raise tau; none where they do. */
export function tauNote(evaluation: Evaluation | null, trainedSteps: number): string | undefined {
  const beyond = (evaluation?.bySteps ?? []).filter(({ steps }) => steps > trainedSteps)
  const taus = beyond.map(({ tau }) => tau)
  if (taus.length < 2 || Math.max(...taus) - Math.min(...taus) >= SAME) return undefined
  const counts = beyond.map(({ steps }) => steps)
  return `tau is the same at ${counts.slice(0, -1).join(', ')} and ${counts.at(-1)} steps: the draft was trained with train.ttt.steps ${trainedSteps}, so later positions are hardly ever accepted`
}
