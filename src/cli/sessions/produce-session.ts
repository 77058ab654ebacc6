import type { RunConfig } from '../../config/schema.ts'
import { type Part, partText } from '../../core/part.ts'
import { describe } from '../../refs/manifest.ts'
import type { SummaryHints } from '../../report/text/summary.ts'
import { type RunOutcome, run, runPart } from '../../roles/run.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { configFlag, runRole } from './role-session.ts'
import type { Stop } from './stop.ts'

/** Runs the producer with the source of the command (`capture` or `files`), which wins over features.source. */
export async function produceFrom(
  source: RunConfig['features']['source'],
  flags: RunFlags,
  part: Part | null,
  stop: Stop,
): Promise<void> {
  await runRole(flags, stop, {
    run: (config, context) => {
      const produced = { ...config, features: { ...config.features, source } }
      return part === null ? run(produced, 'producer', context) : runPart(produced, part, context)
    },
    hints: (outcome) => hintsAfterProducing(flags, source === 'capture' ? 'capture' : 'ingest', outcome),
  })
}

/** `train` comes next, unless parts are missing: then the command for the first of these. */
function hintsAfterProducing(flags: RunFlags, command: string, { parts = null }: RunOutcome): SummaryHints {
  const left = (parts ?? []).filter(({ state }) => state !== 'complete')
  const [first] = left
  if (parts === null || first === undefined) return { next: `${SELF} train ${configFlag(flags)}` }
  const named = left.slice(0, 4).map(describe).join(', ')
  const more = left.length > 4 ? ` and ${left.length - 4} more` : ''
  const missing = partText({ index: first.index, count: parts.length })
  return {
    note: `${parts.length - left.length} of ${parts.length} parts are complete: ${named}${more}`,
    next: `${SELF} ${command} ${configFlag(flags)} --part ${missing}`,
  }
}
