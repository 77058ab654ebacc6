import { finding } from '../../core/errors.ts'
import type { DraftConfig } from '../architecture.ts'

const NAME = 'eagle_aux_hidden_state_layer_ids'

/**
 * The target's layers whose outputs a draft config names, or null. Nested in `eagle_config`, an id is a layer whose output
 * is read (SGLang); at the top it is a layer whose input is read (vLLM). @throws CONFIG_INVALID
 */
export function namedLayers(config: DraftConfig, file: string, numLayers: number): number[] | null {
  const nested = config['eagle_config']
  const outputs = idsOf(nested !== null && typeof nested === 'object' && !Array.isArray(nested) ? nested[NAME] : null)
  const inputs = idsOf(config[NAME])?.map((id) => id - 1) ?? null
  if (outputs !== null && inputs !== null && outputs.join() !== inputs.join()) {
    throw finding('CONFIG_INVALID', 'the draft config names two different lists of target layers', {
      file,
      field: `${NAME}, eagle_config.${NAME}`,
      found: `inputs of ${inputs.map((id) => id + 1).join(', ')}; outputs of ${outputs.join(', ')}`,
      fix: 'ids at the top are one higher than those in eagle_config: correct one list, or remove it',
    })
  }
  const layers = outputs ?? inputs
  if (layers === null || layers.every((id) => id >= 0 && id < numLayers)) return layers
  throw finding('CONFIG_INVALID', 'the draft config names layers that the target does not have', {
    file,
    field: outputs === null ? NAME : `eagle_config.${NAME}`,
    found: `outputs of layers ${layers.join(', ')}; the target has layers 0 to ${numLayers - 1}`,
    fix: 'name layers of this target, or leave the field out',
  })
}

/** As a config names layers whose outputs are read. */
export const namingLayers = (layers: readonly number[]): DraftConfig => ({
  eagle_config: { [NAME]: [...layers], use_aux_hidden_state: true },
})

function idsOf(value: unknown): number[] | null {
  return Array.isArray(value) ? value.map(Number) : null
}
