import { z } from 'zod'
import type { Decoded } from '../../bridge/ops.ts'
import { finding } from '../../core/errors.ts'
import type { EventBody } from '../../report/events/events.ts'

const Count = z.number().int().nonnegative()
const OutputIds = z.array(Count)

/** What `draftbridge eval --json` prints and `<run.dir>/eval.json` holds. Keys of the records are numbers of draft steps. */
export const EvalReport = z.strictObject({
  version: z.literal(1),
  draft: z.string(),
  target: z.string(),
  dtype: z.enum(['fp32', 'bf16']),
  maxNewTokens: Count,
  /** Tokens per verify pass, pooled over the prompts; the prefill and the token it gives are not counted. */
  tau: z.record(z.string(), z.number()),
  /** Conditional, by draft position: accepted / proposed, given that all earlier positions were accepted. */
  acceptance: z.record(z.string(), z.array(z.number().nullable())),
  speed: z.strictObject({
    plainTokensPerSecond: z.number(),
    bySteps: z.record(z.string(), z.strictObject({ tokensPerSecond: z.number(), speedUp: z.number() })),
  }),
  /** Every prompt gave the ids of plain greedy decoding at every number of steps. */
  lossless: z.boolean(),
  losslessShare: z.number(),
  /** `index`: the first output position that differs from plain greedy decoding. */
  differences: z.array(z.strictObject({ id: z.string(), steps: Count, index: Count })),
  plain: z.array(z.strictObject({ id: z.string(), tokens: Count, outputIds: OutputIds })),
  prompts: z.array(
    z.strictObject({ id: z.string(), steps: Count, tokens: Count, passes: Count, outputIds: OutputIds }),
  ),
})
export type EvalReport = z.output<typeof EvalReport>

/** One prompt, decoded plainly and once per number of draft steps. */
export interface Answer {
  readonly id: string
  readonly plain: Decoded
  readonly drafted: ReadonlyMap<number, Decoded>
}

export type EvalSubject = Pick<EvalReport, 'draft' | 'target' | 'dtype' | 'maxNewTokens'>

export function buildEvalReport(
  subject: EvalSubject,
  steps: readonly number[],
  answers: readonly Answer[],
): EvalReport {
  const plain = answers.map((answer) => answer.plain)
  const plainTokensPerSecond = tokensPerSecond(plain)
  const pools = steps.map((count) => ({ count, runs: answers.flatMap((answer) => answer.drafted.get(count) ?? []) }))
  const by = <T>(of: (runs: readonly Decoded[], count: number) => T): Record<string, T> =>
    Object.fromEntries(pools.map(({ count, runs }) => [String(count), of(runs, count)]))
  const differences = answers.flatMap(differencesOf)
  const differing = new Set(differences.map(({ id }) => id))
  return {
    version: 1,
    ...subject,
    tau: by((runs) => ratio(total(runs, 'tokens'), total(runs, 'passes')) ?? 0),
    acceptance: by(acceptanceByPosition),
    speed: {
      plainTokensPerSecond,
      bySteps: by((runs) => {
        const speed = tokensPerSecond(runs)
        return { tokensPerSecond: speed, speedUp: ratio(speed, plainTokensPerSecond) ?? 0 }
      }),
    },
    lossless: differences.length === 0,
    losslessShare: ratio(answers.length - differing.size, answers.length) ?? 1,
    differences,
    plain: answers.map(({ id, plain: { tokens, outputIds } }) => ({ id, tokens, outputIds })),
    prompts: answers.flatMap(({ id, drafted }) =>
      [...drafted].map(([count, { tokens, passes, outputIds }]) => ({ id, steps: count, tokens, passes, outputIds })),
    ),
  }
}

/** Throws when `report`, kept in `file`, shows that nothing was measured or that decoding was not lossless. */
export function checkEvalReport(report: EvalReport, file: string): void {
  if (report.prompts.every(({ passes }) => passes === 0)) {
    throw finding('CONFIG_INVALID', 'the prompts measured nothing: no answer has a second token', {
      file,
      field: 'eval.prompts, eval.maxNewTokens',
      found: `${report.plain.length} prompts, maxNewTokens ${report.maxNewTokens}`,
      fix: 'use prompts that the target answers at length, and maxNewTokens of at least 2',
    })
  }
  // In bf16, a pass over several tokens rounds differently from a pass over one. Differences are reported, not an error.
  if (report.lossless || report.dtype !== 'fp32') return
  const shown = report.differences.slice(0, 3).map(({ id, steps, index }) => `${id} (${steps} steps, token ${index})`)
  throw finding('CONTRACT_MISMATCH', 'drafting changed the output of greedy decoding', {
    file,
    field: 'differences',
    found: `${report.differences.length} differing outputs: ${shown.join(', ')}${report.differences.length > 3 ? ', …' : ''}`,
    fix: 'look at the first differing token: unless two logits tie there, this is a bug of draftbridge; please report it',
  })
}

/** The event that carries the figures of `report` to the run's summary and curves. */
export function evalFinished(report: EvalReport): EventBody {
  return {
    event: 'eval.finished',
    draft: report.draft,
    prompts: report.plain.length,
    lossless: report.lossless,
    plainTokensPerSecond: report.speed.plainTokensPerSecond,
    bySteps: Object.entries(report.tau).map(([steps, tau]) => ({
      steps: Number(steps),
      tau,
      tokensPerSecond: report.speed.bySteps[steps]?.tokensPerSecond ?? 0,
      acceptance: report.acceptance[steps] ?? [],
    })),
  }
}

/** The first index where `found` and `expected` part, a missing end included; null when they are equal. */
export function firstDifference(found: readonly number[], expected: readonly number[]): number | null {
  const index = expected.findIndex((token, place) => found[place] !== token)
  if (index !== -1) return index
  return found.length === expected.length ? null : expected.length
}

function differencesOf({ id, plain, drafted }: Answer): EvalReport['differences'] {
  return [...drafted].flatMap(([steps, { outputIds }]) => {
    const index = firstDifference(outputIds, plain.outputIds)
    return index === null ? [] : [{ id, steps, index }]
  })
}

function acceptanceByPosition(runs: readonly Decoded[], steps: number): (number | null)[] {
  return Array.from({ length: steps }, (_, place) => {
    const at = (counts: readonly number[]): number => counts[place] ?? 0
    const accepted = runs.reduce((sum, run) => sum + at(run.accepted), 0)
    return ratio(
      accepted,
      runs.reduce((sum, run) => sum + at(run.proposed), 0),
    )
  })
}

const total = (runs: readonly Decoded[], field: 'tokens' | 'passes' | 'seconds'): number =>
  runs.reduce((sum, run) => sum + run[field], 0)
const tokensPerSecond = (runs: readonly Decoded[]): number => ratio(total(runs, 'tokens'), total(runs, 'seconds')) ?? 0
const ratio = (part: number, whole: number): number | null => (whole > 0 ? part / whole : null)
