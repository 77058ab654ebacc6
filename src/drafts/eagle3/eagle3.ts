import type { z } from 'zod'
import { finding } from '../../core/errors.ts'
import type { DraftSettings } from '../../core/settings/model-settings.ts'
import type { TargetShape } from '../../core/target-contract.ts'
import type { CapturedFeatures, DraftArchitecture, DraftConfig, GivenConfig } from '../architecture.ts'
import { Eagle3Config, Eagle3Fields, eagle3ConfigFor } from './eagle3-config.ts'
import { namedLayers, namingLayers } from './named-layers.ts'

/** One decoder layer over the fused outputs of three target layers. */
export const eagle3: DraftArchitecture = {
  name: 'eagle3',
  config: Eagle3Config,
  states: [
    { name: 'hidden_state', source: 'final' },
    { name: 'aux_hidden_state', source: 'aux' },
  ],
  auxLayers,
  configFor,
  requireFor,
}

/**
 * Those that the draft config names, or low, middle and high: EAGLE-3 paper (arXiv 2503.01840), section 3.1; the numbers
 * are SpecForge's (github.com/sgl-project/SpecForge).
 */
function auxLayers({ numLayers }: TargetShape, given?: GivenConfig): number[] {
  const named = given === undefined ? null : namedLayers(given.config, given.file, numLayers)
  if (named !== null) return named
  const found = usualLayers(numLayers)
  if (found !== null) return found
  throw finding('CONFIG_INVALID', 'the target is too shallow for three auxiliary layers', {
    field: 'target.model',
    found: `${numLayers} layers`,
    fix: 'use a target with at least 5 layers',
  })
}

function usualLayers(numLayers: number): number[] | null {
  const [low, middle, high] = [1, Math.floor(numLayers / 2) - 1, numLayers - 4] as const
  return low <= middle && middle <= high ? [low, middle, high] : null
}

/** Features of other than the usual layers: the config says so, or servers would feed the draft the usual ones. */
function configFor(
  target: TargetShape,
  settings: z.output<typeof DraftSettings>,
  { auxLayers }: CapturedFeatures,
): DraftConfig {
  const config = eagle3ConfigFor(target, settings)
  const usual = usualLayers(target.numLayers)?.join() === auxLayers.join()
  return usual ? config : { ...config, ...namingLayers(auxLayers) }
}

function requireFor(
  { hiddenSize, vocabSize, numLayers }: TargetShape,
  settings: z.output<typeof DraftSettings>,
  given: DraftConfig,
  features: CapturedFeatures,
): void {
  const config = Eagle3Fields.parse(given)
  const file = settings.config
  requireSwitched(file, 'draft.fcNorm', settings.fcNorm, 'fc_norm', config.fc_norm)
  requireSwitched(file, 'draft.normOutput', settings.normOutput, 'norm_output', config.norm_output)
  requireEqual(file, 'hidden_size', config.hidden_size, hiddenSize)
  requireEqual(file, 'target_hidden_size', config.target_hidden_size ?? hiddenSize, hiddenSize)
  requireEqual(file, 'vocab_size', config.vocab_size, vocabSize)
  requireLayers(file, namedLayers(given, file, numLayers) ?? usualLayers(numLayers), features.auxLayers)
  requirePositions(file, config.max_position_embeddings, features.longest)
  if (config.draft_vocab_size <= vocabSize) return
  throw finding('CONTRACT_MISMATCH', 'the draft vocabulary is larger than that of the target', {
    file,
    field: 'draft_vocab_size',
    found: `${config.draft_vocab_size}; the target has ${vocabSize} tokens`,
    fix: `set it to at most ${vocabSize}`,
  })
}

/** Without a name in the file, servers feed the draft the usual layers. */
function requireLayers(file: string, expected: readonly number[] | null, captured: readonly number[]): void {
  if (expected?.join() === captured.join()) return
  throw finding('CONTRACT_MISMATCH', 'the draft config is for other target layers than the features', {
    file,
    field: 'eagle_config.eagle_aux_hidden_state_layer_ids',
    found: `outputs of layers ${expected?.join(', ') ?? 'nothing'}; the features are those of ${captured.join(', ')}`,
    fix: `name [${captured.join(', ')}] there, or capture again with this draft.config`,
  })
}

function requirePositions(file: string, positions: number, longest: number): void {
  if (longest <= positions) return
  throw finding('CONFIG_INVALID', 'the draft config has fewer positions than the longest sample has tokens', {
    file,
    field: 'max_position_embeddings',
    found: `${positions}; the longest sample that is trained has ${longest} tokens`,
    fix: `set it to at least ${longest}, or lower data.maxLength to ${positions}`,
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
