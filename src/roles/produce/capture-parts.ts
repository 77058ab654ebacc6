import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { RunConfig } from '../../config/schema.ts'
import { interrupted } from '../../core/interruption.ts'
import { monotonic } from '../../core/liveness/monotonic.ts'
import type { Part } from '../../core/part.ts'
import { visibleGpus } from '../../launch/machine.ts'
import { supervise } from '../../launch/supervisor.ts'
import { manifestLayout, partStates } from '../../refs/manifest.ts'
import { EventBody, ofPart } from '../../report/events/events.ts'
import type { RoleContext } from '../context.ts'
import { PartEvents } from './part-events.ts'
import type { Produced } from './produce.ts'
import { PartOutcome } from './produce-part.ts'

/** Which parts of a manifest, both ends included, and how many it has. */
export interface PartRange {
  readonly first: number
  readonly last: number
  readonly count: number
}

/**
 * Parts of a manifest, each by a process of its own; with GPUs, one after the other on the next GPU. Their
 * events come as those of one producer, of `share` where other nodes make the rest. The first failure ends all; the same command goes on with what is stored.
 * @throws INTERRUPTED once all have stopped between two samples; the error of the part that failed first; RANK_DIED,
 * naming the part, for one that ended without an error.
 */
export async function captureParts(
  config: RunConfig,
  range: PartRange,
  context: RoleContext,
  share: Part | null = null,
): Promise<Produced> {
  const { signal, time = monotonic } = context
  const emit = (body: EventBody) => context.events.emit(share === null ? body : ofPart(body, share))
  const events = { emit }
  const gpus = await visibleGpus()
  const { first, last, count } = range
  const ranks = Array.from({ length: last - first + 1 }, (_, at) => {
    const index = first + at
    const gpu = gpus[at % Math.max(1, gpus.length)]
    const env = gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpu }
    return { rank: index, spec: { config, part: { index, count } }, env }
  })
  const sums = new PartEvents({ count: ranks.length, manifest: config.manifest, events, time })
  const here = fileURLToPath(import.meta.url)
  const results = await supervise({
    program: path.join(path.dirname(here), `produce-part-main${path.extname(here)}`),
    called: 'part',
    ranks,
    graceSeconds: config.launch.graceSeconds,
    signal,
    logDir: path.join(config.run.dir, 'logs'),
    onEvent: (index, body) => sums.take(index, EventBody.parse(body)),
  }).catch((error: unknown) => {
    sums.endEarly()
    throw error
  })
  if (results.some((result) => PartOutcome.parse(result).stopped)) {
    sums.endEarly()
    throw interrupted('the producers stopped between two samples; run the same command to resume', signal)
  }
  sums.finish()
  const layout = await manifestLayout(config.manifest)
  return { parts: layout.kind === 'parts' ? partStates(layout.count, layout.begun) : [] }
}
