import { DraftConfig, draftConfigFor, type NormSwitches } from '../../core/draft-config.ts'
import { finding } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import type { CaptureContract } from '../../core/target-contract.ts'

/**
 * The draft to train: `auto` is one layer of the target's own sizes, anything else is a `config.json`.
 * @throws CONFIG_INVALID for a file that is no draft config or leaves off a norm that `draft` switches on,
 * CONTRACT_MISMATCH for one made for another target.
 */
export async function resolveDraftConfig(
  draft: NormSwitches & { readonly config: string; readonly vocabSize: number },
  contract: CaptureContract,
): Promise<DraftConfig> {
  if (draft.config === 'auto') return draftConfigFor(contract.shape, draft.vocabSize, draft)
  const config = await readDraftConfig(draft.config)
  requireSwitched(draft.config, 'draft.fcNorm', draft.fcNorm, 'fc_norm', config.fc_norm)
  requireSwitched(draft.config, 'draft.normOutput', draft.normOutput, 'norm_output', config.norm_output)
  const { hiddenSize, vocabSize } = contract.shape
  requireEqual(draft.config, 'hidden_size', config.hidden_size, hiddenSize)
  requireEqual(draft.config, 'vocab_size', config.vocab_size, vocabSize)
  if (config.draft_vocab_size <= vocabSize) return config
  throw finding('CONTRACT_MISMATCH', 'the draft vocabulary is larger than that of the target', {
    file: draft.config,
    field: 'draft_vocab_size',
    found: `${config.draft_vocab_size}; the target has ${vocabSize} tokens`,
    fix: `set it to at most ${vocabSize}`,
  })
}

/** @throws CONFIG_INVALID */
export async function readDraftConfig(file: string): Promise<DraftConfig> {
  const text = await readTextOrNull(file)
  const fix = 'name a draft config.json in draft.config, or set it to auto'
  if (text === null) throw finding('CONFIG_INVALID', 'the draft config does not exist', { file, fix })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw finding('CONFIG_INVALID', 'the draft config is not JSON', { file, fix }, { cause })
  }
  const parsed = DraftConfig.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue?.path.join('.') ?? ''
  throw finding('CONFIG_INVALID', 'this is not the config of an EAGLE3 draft', {
    file,
    field,
    found: issue?.message ?? '',
    fix,
  })
}

/** The file decides what the draft is; a switch in draftbridge.yaml that the file contradicts would do nothing. */
function requireSwitched(file: string, field: string, on: boolean, name: string, found: boolean | undefined): void {
  if (!on || found === true) return
  throw finding('CONFIG_INVALID', 'the draft config leaves off a norm that draftbridge.yaml switches on', {
    file,
    field,
    found: `true; the file has ${name}: ${found ?? 'nothing'}`,
    fix: `set ${name} to true in the file, or leave ${field} out`,
  })
}

function requireEqual(file: string, field: string, found: number, expected: number): void {
  if (found === expected) return
  throw finding('CONTRACT_MISMATCH', 'the draft config was made for another target than the features', {
    file,
    field,
    found: `${found}; the features come from a target with ${expected}`,
    fix: `set ${field} to ${expected}, or produce features with the target that this draft is for`,
  })
}
