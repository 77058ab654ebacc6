import type { RunConfig } from '../../config/schema.ts'
import { type NodeFailure, runLocalNodes } from '../../launch/engines/local-nodes.ts'
import { visibleGpus } from '../../launch/machine.ts'
import { type JobSize, jobSize } from './job-size.ts'

/** Beside the grace of the ranks: a node has to notice, to say so and to write its report. */
const NOTICE_SECONDS = 15

export interface LocalLaunch {
  /** The words that start draftbridge. */
  readonly program: readonly string[]
  /** The flags of `run`. */
  readonly flags: readonly string[]
  readonly signal: AbortSignal
  readonly onLine: (label: string, line: string) => void
}

/** Runs both pools on this machine, to the end of the job. The nodes of a pool share the GPUs. Null when all went well. */
export async function launchLocal(config: RunConfig, given: LocalLaunch): Promise<NodeFailure | null> {
  const { program, flags, signal, onLine } = given
  const size = jobSize(config)
  const gpus = await visibleGpus()
  return runLocalNodes({
    command: [...program, 'run', ...flags],
    nodes: size.nodes,
    env: (node) => (gpus.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: gpusOf(node, size, gpus).join(',') }),
    graceSeconds: config.launch.graceSeconds + NOTICE_SECONDS,
    signal,
    onLine: (node, line) => onLine(nodeName(node, size), line),
  })
}

export const nodeName = (node: number, { producers }: JobSize): string =>
  node < producers ? `producer ${node}` : `consumer ${node - producers}`

/** The pools use the GPUs one after the other, the nodes of a pool at the same time. */
function gpusOf(node: number, { producers, consumers }: JobSize, gpus: readonly string[]): readonly string[] {
  const [index, count] = node < producers ? [node, producers] : [node - producers, consumers]
  const share = Math.floor(gpus.length / count)
  return share === 0 ? [gpus[index % gpus.length] ?? ''] : gpus.slice(index * share, (index + 1) * share)
}
