import type { RunConfig } from '../../config/schema.ts'
import { type Part, partText } from '../../core/part.ts'
import type { SummaryHints } from '../../report/text/summary.ts'
import { onlyNodeOf } from '../../roles/pools.ts'
import { unfinishedParts } from '../../roles/produce/unfinished-parts.ts'
import { type RunOutcome, run, runPart } from '../../roles/run.ts'
import { type RunFlags, SELF } from '../flags.ts'
import { configFlag, runRole, without } from './role-session.ts'
import type { Stop } from './stop.ts'

/** Runs the producer with the source of the command (`capture` or `files`), which wins over features.source. */
export async function produceFrom(
  source: RunConfig['features']['source'],
  flags: RunFlags,
  part: Part | null,
  stop: Stop,
): Promise<void> {
  await runRole(flags, stop, {
    place: () => onlyNodeOf('producer'),
    run: (config, context) => {
      const produced = { ...config, features: { ...config.features, source } }
      return part === null ? run(produced, onlyNodeOf('producer'), context) : runPart(produced, part, context)
    },
    hints: (outcome) => hintsAfterProducing(flags, source === 'capture' ? 'capture' : 'ingest', outcome),
  })
}

/** `train` comes next, unless parts are missing: then the command for the first of these. */
function hintsAfterProducing(flags: RunFlags, command: string, { parts }: RunOutcome): SummaryHints {
  const left = unfinishedParts(parts)
  if (left === null) return { next: `${SELF} train ${configFlag(without(flags, 'data.maxBadShare'))}` }
  return { note: left.text, next: `${SELF} ${command} ${configFlag(flags)} --part ${partText(left.first)}` }
}
