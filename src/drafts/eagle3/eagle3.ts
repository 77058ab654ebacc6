import type { z } from 'zod'
import { finding } from '../../core/errors.ts'
import type { DraftSettings } from '../../core/settings/model-settings.ts'
import type { TargetShape } from '../../core/target-contract.ts'
import type { DraftArchitecture, DraftConfig } from '../architecture.ts'
import { Eagle3Config, eagle3ConfigFor } from './eagle3-config.ts'

/** One decoder layer over the fused outputs of three target layers. */
export const eagle3: DraftArchitecture = {
  name: 'eagle3',
  config: Eagle3Config,
  states: [
    { name: 'hidden_state', source: 'final' },
    { name: 'aux_hidden_state', source: 'aux' },
  ],
  auxLayers,
  configFor: eagle3ConfigFor,
  requireFor,
}

/**
 * Low, middle and high: EAGLE-3 paper (arXiv 2503.01840), section 3.1; the numbers are SpecForge's
 * (github.com/sgl-project/SpecForge).
 */
function auxLayers({ numLayers }: TargetShape): number[] {
  const [low, middle, high] = [1, Math.floor(numLayers / 2) - 1, numLayers - 4] as const
  if (low <= middle && middle <= high) return [low, middle, high]
  throw finding('CONFIG_INVALID', 'the target is too shallow for three auxiliary layers', {
    field: 'target.model',
    found: `${numLayers} layers`,
    fix: 'use a target with at least 5 layers',
  })
}

function requireFor(
  { hiddenSize, vocabSize }: TargetShape,
  settings: z.output<typeof DraftSettings>,
  given: DraftConfig,
): void {
  const config = Eagle3Config.parse(given)
  const file = settings.config
  requireSwitched(file, 'draft.fcNorm', settings.fcNorm, 'fc_norm', config.fc_norm)
  requireSwitched(file, 'draft.normOutput', settings.normOutput, 'norm_output', config.norm_output)
  requireEqual(file, 'hidden_size', config.hidden_size, hiddenSize)
  requireEqual(file, 'vocab_size', config.vocab_size, vocabSize)
  if (config.draft_vocab_size <= vocabSize) return
  throw finding('CONTRACT_MISMATCH', 'the draft vocabulary is larger than that of the target', {
    file,
    field: 'draft_vocab_size',
    found: `${config.draft_vocab_size}; the target has ${vocabSize} tokens`,
    fix: `set it to at most ${vocabSize}`,
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
