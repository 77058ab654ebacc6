import path from 'node:path'
import type { Layout } from '../../bridge/ingest-ops.ts'
import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import type { EventBody } from '../../report/events/events.ts'
import { type FeatureFile, type FoundFeatures, findFeatureFiles, type LeftOut } from './feature-files.ts'
import { type FilesOfKind, judgeFiles } from './judged-files.ts'
import { torchspecFolder } from './torchspec-folder.ts'

/** What lies in `features.files`, before any of it is read whole. */
export interface FeatureSurvey {
  readonly files: readonly FeatureFile[]
  readonly kinds: readonly FilesOfKind[]
  readonly leftOut: FoundFeatures['leftOut']
  readonly layout: Layout
  readonly finalNorm: 'pre' | 'post'
  readonly masks: MaskSource | null
}

interface MaskSource {
  readonly path: string
  readonly rows: number
  readonly digest: string
}

/** @throws CONFIG_INVALID unless the files have one layout, and all that it needs is there. */
export async function surveyFeatures(
  pattern: string,
  features: RunConfig['features'],
  python: Python,
): Promise<FeatureSurvey> {
  const saved = features.layout === 'auto' || features.layout === 'torchspec' ? await torchspecFolder(pattern) : null
  const { base, files, leftOut } = saved?.features ?? (await findFeatureFiles(pattern))
  const { layout, kinds, needsMasks } = await judgeFiles(files, features.layout, python)
  const stated = { specforge: 'post', speculators: 'pre', torchspec: saved?.finalNorm ?? null } as const
  const finalNorm = features.finalNorm === 'auto' ? stated[layout] : features.finalNorm
  if (finalNorm === null) throw unstated(pattern)
  const masks = needsMasks ? await findMasks(base, features.masks, python) : null
  return { files, kinds, leftOut, layout, finalNorm, masks }
}

/** The data set with the masks, opened. */
export async function openMasks(masks: MaskSource | null, python: Python): Promise<Owned | null> {
  if (masks === null) return null
  const { handle } = await python.call('masks.open', { path: masks.path, near: [] })
  return handle === null ? null : new Owned(python, handle)
}

async function findMasks(base: string, named: string | null, python: Python): Promise<MaskSource> {
  // speculators keeps `hidden_states/` in the folder of the data set.
  const near = [base, path.dirname(base)]
  const { handle, ...found } = await python.call('masks.open', { path: named, near })
  if (handle !== null) {
    await new Owned(python, handle)[Symbol.asyncDispose]()
    return found
  }
  throw finding('CONFIG_INVALID', 'the feature files hold no masks', {
    field: 'features.masks',
    found: `null, and no .arrow file in ${near.join(' or ')}`,
    fix: 'name the data set that the tokens came from: the folder that speculators prepared, or a .jsonl file with `input_ids` and `loss_mask`',
  })
}

const unstated = (pattern: string) =>
  finding('CONFIG_INVALID', 'the files do not say whether their last state is behind the final norm', {
    file: pattern,
    field: 'features.finalNorm',
    found: 'auto, and no dataset.json that says last_hidden_states_prenorm',
    fix: 'set it to pre if they were captured with vLLM, or to post if with SGLang or transformers',
  })

const WHY: Record<LeftOut, string> = {
  compressed: 'compressed copies of files beside them',
  companion: 'files without data that another system left',
  again: 'linked folders that are entered under another path',
  evaluation: 'samples of another split than train',
}

export function foundEvent(survey: FeatureSurvey): Extract<EventBody, { event: 'produce.found' }> {
  const { layout, finalNorm, kinds, masks, leftOut } = survey
  const reasons = Object.entries(WHY) as [LeftOut, string][]
  return {
    event: 'produce.found',
    ...{ layout, finalNorm },
    files: kinds.map(({ kind, files }) => ({ kind, files })),
    leftOut: reasons.flatMap(([name, why]) => {
      const [first] = leftOut[name]
      return first === undefined ? [] : [{ why, count: leftOut[name].length, first }]
    }),
    masks: masks === null ? null : `${masks.path}, ${masks.rows} rows`,
  }
}
