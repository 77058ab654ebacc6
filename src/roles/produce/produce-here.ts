import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import { thisMachine } from '../../launch/machine.ts'
import { manifestLayout, type PartSoFar, partStates } from '../../refs/manifest.ts'
import type { RoleContext } from '../context.ts'
import type { PoolPlace } from '../pools.ts'
import type { PartRange } from './capture-parts.ts'
import type { Produced } from './produce.ts'

type Nodes = Pick<PoolPlace, 'node' | 'nodes'>
const ONLY: Nodes = { node: 0, nodes: 1 }

/**
 * The producer with all processes that this machine is to run for it: one in this process, or one process for each part.
 * Of several nodes each makes its own parts, and ends when these are complete.
 */
export async function produceHere(config: RunConfig, context: RoleContext, place = ONLY): Promise<Produced> {
  const done = place.nodes > 1 ? await completeParts(config.manifest) : null
  // Any number of nodes may start a job again whose manifest is complete. The first of them compares it with the inputs.
  if (done !== null && place.node > 0) return { parts: done }
  const range = await partsHere(config, done === null ? place : ONLY)
  if (range === null || range.first === range.last) {
    const { produce } = await import('./produce.ts')
    return produce(config, context, range === null ? null : { index: range.first, count: range.count })
  }
  const { captureParts } = await import('./capture-parts.ts')
  // Each node sums up its own parts.
  const share = place.nodes > 1 ? { index: place.node, count: place.nodes } : null
  return captureParts(config, range, context, share)
}

/** The parts to make here; null for one whole manifest. */
async function partsHere(config: RunConfig, { node, nodes }: Nodes): Promise<PartRange | null> {
  const each = await partsOfNode(config, nodes)
  if (each === null) return null
  return { first: node * each, last: (node + 1) * each - 1, count: nodes * each }
}

/**
 * How many parts each node makes; null for one whole manifest. What lies in the folder decides, so that work that was
 * begun goes on as it was begun.
 */
async function partsOfNode(config: RunConfig, nodes: number): Promise<number | null> {
  const { features, store, manifest } = config
  const inParts = features.source === 'capture' && traitsOf(store).shared
  const layout = await manifestLayout(manifest)
  if (!inParts && nodes === 1 && layout.kind !== 'parts') return null
  if (layout.kind === 'whole') return nodes === 1 ? null : 1
  if (layout.kind === 'parts') return begunBy(nodes, layout.count, manifest)
  const processes = inParts ? await processesHere(config) : 1
  return nodes * processes > 1 ? processes : null
}

/** The states of all parts, none for the manifest of one producer. Null while something is missing. */
async function completeParts(dir: string): Promise<readonly PartSoFar[] | null> {
  const layout = await manifestLayout(dir)
  if (layout.kind === 'nothing') return null
  if (layout.kind === 'whole') return layout.found.root.state === 'complete' ? [] : null
  const states = partStates(layout.count, layout.begun)
  return states.every(({ state }) => state === 'complete') ? states : null
}

function begunBy(nodes: number, count: number, manifest: string): number {
  if (count % nodes === 0) return count / nodes
  throw finding('MANIFEST_INVALID', 'the manifest was begun in parts that these nodes cannot share evenly', {
    file: manifest,
    field: 'launch.producers',
    found: `${count} parts, ${nodes} nodes that produce`,
    fix: 'go on with as many nodes as began it, or produce into another folder',
  })
}

async function processesHere({ launch, target }: RunConfig): Promise<number> {
  // A target that takes all GPUs leaves none for a second process, and vLLM itself takes as many as it is told.
  const perGpu = target.devices === 'all' || target.engine === 'vllm' ? 1 : (await thisMachine()).gpus
  return Math.max(1, launch.processes === 'auto' ? perGpu : launch.processes)
}
