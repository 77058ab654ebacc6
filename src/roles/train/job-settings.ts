import { packageVersion } from '../../core/package-version.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { canonical } from '../../train/checkpoints/checkpoint-record.ts'
import { readDraftConfig } from './draft-config-file.ts'
import type { TrainingConfig, TrainingData } from './prepare-run.ts'

/** What all nodes of a training pool must have alike, by the name that a user knows it by. */
export async function jobSettings(
  config: TrainingConfig,
  data: TrainingData,
  retain: boolean,
): Promise<Record<string, string>> {
  const { run, train, draft } = config
  const architecture = architectureOf(draft.architecture)
  const of = (section: string, settings: object) =>
    Object.fromEntries(Object.entries(settings).map(([key, value]) => [`${section}.${key}`, canonical(value)]))
  return {
    'version of draftbridge': await packageVersion(),
    'run.id': run.id,
    'run.seed': String(run.seed),
    'store.retain': String(retain),
    'data.maxLength': String(config.data.maxLength),
    'manifest (sha256 of what it lists)': data.manifestSha256 ?? 'none',
    ...of('train', train),
    ...of('draft', draft),
    // Nodes may have the file at different paths, but not different files.
    'draft.config': draft.config === 'auto' ? 'auto' : canonical(await readDraftConfig(draft.config, architecture)),
  }
}
