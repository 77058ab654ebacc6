import type { z } from 'zod'
import type { DraftSettings } from '../core/settings/model-settings.ts'
import type { CaptureContract, TargetShape } from '../core/target-contract.ts'

/** A draft's `config.json`, whatever its architecture. */
export type DraftConfig = Readonly<Record<string, z.core.util.JSONType>>

/**
 * A feature `[n, width]` made of the target's hidden states. `final`: the last one, after the final norm.
 * `aux`: the outputs of the auxiliary layers side by side, in their order.
 */
export interface StateFeature {
  readonly name: string
  readonly source: 'final' | 'aux'
}

/** The `config.json` that `draft.config` names, or that of a trained draft. */
export interface GivenConfig {
  readonly file: string
  readonly config: DraftConfig
}

/** What a draft is trained on. `longest`: tokens of the longest sample, cut at data.maxLength. */
export interface CapturedFeatures {
  readonly auxLayers: readonly number[]
  readonly longest: number
}

/**
 * A draft architecture, as far as TypeScript needs to know it. python/draftbridge/drafts/architecture.py is the other
 * half; both halves are registered under one name.
 */
export interface DraftArchitecture {
  /** As `draft.architecture` of the config has it. */
  readonly name: string
  /** The draft's `config.json`. */
  readonly config: z.ZodType<DraftConfig>
  /** What the draft trains on, beside `input_ids` and `loss_mask`. */
  readonly states: readonly StateFeature[]
  /**
   * The layers whose outputs the draft reads, any number of them. A capture writes them into its contract, and training
   * and evaluation read them from there. A config may name them; it need not be a whole one.
   * @throws CONFIG_INVALID for a target that has too few layers.
   */
  auxLayers(target: TargetShape, given?: GivenConfig): number[]
  /** `draft.config: auto`: a draft for this target and these features. */
  configFor(target: TargetShape, settings: z.output<typeof DraftSettings>, features: CapturedFeatures): DraftConfig
  /**
   * `config`: what the file that `draft.config` names holds. @throws CONTRACT_MISMATCH when it is of a draft for another
   * target or other features, CONFIG_INVALID when it contradicts the settings.
   */
  requireFor(
    target: TargetShape,
    settings: z.output<typeof DraftSettings>,
    config: DraftConfig,
    features: CapturedFeatures,
  ): void
}

/** How many hidden states lie side by side in a feature. */
export const layersIn = ({ source }: StateFeature, auxLayers: readonly number[]): number =>
  source === 'final' ? 1 : auxLayers.length

/** What every sample has to hold: the shapes of its features, `n` for its tokens. */
export function expectedShapes(
  { states }: DraftArchitecture,
  { shape, auxLayers }: Pick<CaptureContract, 'shape' | 'auxLayers'>,
  n: number | 'n',
): ReadonlyMap<string, string> {
  const ids = ['input_ids', 'loss_mask'].map((name): [string, string] => [name, `[${n}]`])
  const widths = states.map((state): [string, string] => {
    return [state.name, `[${n}, ${layersIn(state, auxLayers) * shape.hiddenSize}]`]
  })
  return new Map([...ids, ...widths])
}
