import type { RunConfig } from '../../config/schema.ts'
import { finding, isErrno } from '../../core/errors.ts'
import { readInputText } from '../../core/files/plain-file.ts'
import type { TargetShape } from '../../core/target-contract.ts'
import type { CapturedFeatures, DraftArchitecture, DraftConfig } from '../../drafts/architecture.ts'
import { architectureOf } from '../../drafts/registry.ts'

/**
 * The draft to train: `auto` is one of the target's own sizes, anything else is a `config.json`.
 * @throws CONFIG_INVALID for a file that is no draft config or contradicts the settings, CONTRACT_MISMATCH for one made for another target.
 */
export async function resolveDraftConfig(
  settings: RunConfig['draft'],
  target: TargetShape,
  features: CapturedFeatures,
): Promise<DraftConfig> {
  const architecture = architectureOf(settings.architecture)
  if (settings.config === 'auto') return architecture.configFor(target, settings, features)
  const config = await readDraftConfig(settings.config, architecture)
  architecture.requireFor(target, settings, config, features)
  return config
}

/** The target's layers to take states from: those that a file in `draft.config` names, or the architecture's own. */
export async function auxLayersOf(settings: RunConfig['draft'], target: TargetShape): Promise<number[]> {
  const architecture = architectureOf(settings.architecture)
  const file = settings.config
  if (file === 'auto') return architecture.auxLayers(target)
  return architecture.auxLayers(target, { file, config: await readDraftConfig(file, architecture) })
}

/** @throws CONFIG_INVALID */
export async function readDraftConfig(file: string, architecture: DraftArchitecture): Promise<DraftConfig> {
  const fix = 'name a draft config.json in draft.config, or set it to auto'
  const refuse = (found: string) => finding('CONFIG_INVALID', 'this cannot be a draft config', { file, found, fix })
  const text = await readInputText(file, { refuse }).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error
    throw finding('CONFIG_INVALID', 'the draft config does not exist', { file, fix })
  })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw finding('CONFIG_INVALID', 'the draft config is not JSON', { file, fix }, { cause })
  }
  const parsed = architecture.config.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue?.path.join('.') ?? ''
  throw finding('CONFIG_INVALID', `this is not the config of a draft of architecture ${architecture.name}`, {
    file,
    field,
    found: issue?.message ?? '',
    fix,
  })
}
