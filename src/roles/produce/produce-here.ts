import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { thisMachine } from '../../launch/machine.ts'
import { manifestLayout } from '../../refs/manifest.ts'
import type { RoleContext } from '../context.ts'
import type { Produced } from './produce.ts'

/** The producer with all processes that this machine is to run for it: one in this process, or one process for each part. */
export async function produceHere(config: RunConfig, context: RoleContext): Promise<Produced> {
  const parts = await partsHere(config)
  if (parts === null) {
    const { produce } = await import('./produce.ts')
    return produce(config, context)
  }
  const { captureParts } = await import('./capture-parts.ts')
  return captureParts(config, parts, context)
}

/**
 * How many parts to make here; null for one whole manifest. What lies in the folder decides, so that work that was begun
 * goes on as it was begun.
 */
async function partsHere({ features, store, manifest, launch, target }: RunConfig): Promise<number | null> {
  if (features.source !== 'capture' || !traitsOf(store).shared) return null
  const layout = await manifestLayout(manifest)
  if (layout.kind === 'whole') return null
  if (layout.kind === 'parts') return layout.count
  // A target that takes all GPUs leaves none for a second process, and vLLM itself takes as many as it is told.
  const perGpu = target.devices === 'all' || target.engine === 'vllm' ? 1 : (await thisMachine()).gpus
  const processes = launch.processes === 'auto' ? perGpu : launch.processes
  return processes > 1 ? processes : null
}
