import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { RunConfig } from '../../config/schema.ts'
import { hasCode } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { interrupted } from '../../core/interruption.ts'
import type { FolderClaim } from '../../core/liveness/folder-claim.ts'
import { freePort, thisMachine } from '../../launch/machine.ts'
import { supervise } from '../../launch/supervisor.ts'
import { type RankPlace, topology } from '../../launch/topology.ts'
import { EventBody } from '../../report/events/events.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import type { RankSpec } from './rank.ts'

const Outcome = z.strictObject({ step: z.number(), checkpoint: z.string(), stopped: z.boolean() })

/** The ranks that a config asks for on this machine. */
export async function ranksHere({ launch }: RunConfig): Promise<readonly RankPlace[]> {
  const [machine, port] = await Promise.all([thisMachine(), freePort()])
  const master = { addr: '127.0.0.1', port }
  return topology({ nodes: 1, nodeRank: 0, ranksPerNode: launch.ranksPerNode, machine, master })
}

/**
 * Runs one process per place to the end of the run, and passes on what rank 0 reports.
 * @throws INTERRUPTED once all ranks have stopped at the same step and saved; STORE_BUSY when another process trains this
 * run, also when this one was taken for dead and replaced; otherwise what `supervise` throws.
 */
export async function trainRanks(
  config: RunConfig,
  places: readonly RankPlace[],
  features: RankSpec['features'],
  context: RoleContext,
): Promise<{ checkpoint: string; step: number }> {
  await makeFolder(config.run.dir, 'run.dir')
  // Two trainers in one folder would overwrite each other's checkpoints.
  await using claim = await claimWork(config.run.dir, 'train', context)
  const publishFrom = claim.publishing.dir
  const specs = places.map((place) => ({ place, config, features, publishFrom, dryRun: false }))
  const { signal, events } = context
  const { lost } = claim
  const logDir = path.join(config.run.dir, 'logs')
  const results = await runRanks(specs, { logDir, signal, lost, events }).catch(async (error: unknown) => {
    throw (await takenOver(claim)) ?? error
  })
  const { step, checkpoint, stopped } = Outcome.parse(results[0])
  if (!stopped) return { step, checkpoint }
  throw interrupted(`stopped after step ${step}; the same command resumes from ${checkpoint}`, signal)
}

/** The error that names who has taken the run over, which then is why the ranks have failed. Null while it is held. */
function takenOver(claim: FolderClaim): Promise<unknown> {
  // Where the folder cannot be reached, the ranks have said so.
  return claim.assertHeld().then(
    () => null,
    (error: unknown) => (hasCode(error, 'STORE_BUSY') ? error : null),
  )
}

/** One process for each spec; what rank 0 reports is passed on. @throws what `supervise` throws. */
export function runRanks(
  specs: readonly RankSpec[],
  {
    logDir,
    signal,
    lost,
    events,
  }: Pick<RoleContext, 'signal' | 'events'> & {
    readonly logDir: string
    /** Aborted when another process has taken the run over. */
    readonly lost?: AbortSignal
  },
): Promise<readonly unknown[]> {
  const here = fileURLToPath(import.meta.url)
  return supervise({
    program: path.join(path.dirname(here), `rank-main${path.extname(here)}`),
    ranks: specs.map((spec) => ({ rank: spec.place.rank, spec })),
    graceSeconds: Math.max(...specs.map(({ config }) => config.launch.graceSeconds)),
    signal,
    ...(lost === undefined ? {} : { lost }),
    logDir,
    // The events file is the successor's then.
    onEvent: (_, body) => (lost?.aborted === true ? undefined : events.emit(EventBody.parse(body))),
  })
}
