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
import { type RankPlace, ranksOfNode, topology } from '../../launch/topology.ts'
import { EventBody } from '../../report/events/events.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import type { RankSpec } from './rank.ts'

export const Outcome = z.strictObject({ step: z.number(), checkpoint: z.string(), stopped: z.boolean() })
/** Where a run has come to. */
export type Trained = Pick<z.output<typeof Outcome>, 'step' | 'checkpoint'>

/** The ranks that a config asks for on this machine, as the whole job. */
export async function ranksHere({ launch }: RunConfig): Promise<readonly RankPlace[]> {
  const [machine, port] = await Promise.all([thisMachine(), freePort()])
  const master = { addr: '127.0.0.1', port }
  const { ranksPerNode, threadsPerRank } = launch
  return topology({ ranks: ranksOfNode(ranksPerNode, machine), cores: machine.cores, threadsPerRank, master })
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
): Promise<Trained> {
  await makeFolder(config.run.dir, 'run.dir')
  // Two trainers in one folder would overwrite each other's checkpoints.
  await using claim = await claimWork(config.run.dir, 'train', context)
  const publishFrom = claim.publishing.dir
  const checkpoints = { publishFrom, resumeFrom: 'newest' } as const
  const specs = places.map((place) => ({ place, config, features, ...checkpoints, dryRun: false }))
  const { signal, events } = context
  const { lost } = claim
  const results = await runRanks(specs, { logDir: logsOf(config), signal, lost, events }).catch(
    async (error: unknown) => {
      throw (await takenOver(claim)) ?? error
    },
  )
  return trainedTo(results[0], signal)
}

/** The folder for the output of the ranks. */
export const logsOf = ({ run }: RunConfig): string => path.join(run.dir, 'logs')

/** Where a rank says that the run has come to. @throws INTERRUPTED when the ranks were asked to stop before the end. */
export function trainedTo(result: unknown, signal: AbortSignal, again = 'the same command'): Trained {
  const { step, checkpoint, stopped } = Outcome.parse(result)
  if (!stopped) return { step, checkpoint }
  // The ranks of all nodes stop together, also when another node was asked to.
  const by = signal.aborted ? signal : AbortSignal.abort('SIGTERM')
  const how = signal.aborted ? '' : ', because another node or rank was asked to'
  throw interrupted(`stopped after step ${step}${how}; ${again} resumes from ${checkpoint}`, by)
}

/** The error that names who has taken the run over, which then is why the ranks have failed. Null while it is held. */
export function takenOver(claim: FolderClaim): Promise<unknown> {
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
    env = {},
    onCause,
  }: Pick<RoleContext, 'signal' | 'events'> & {
    readonly logDir: string
    /** Aborted when another process has taken the run over. */
    readonly lost?: AbortSignal
    /** Beside the environment of this process. */
    readonly env?: Readonly<Record<string, string>>
    readonly onCause?: (cause: Error) => void
  },
): Promise<readonly unknown[]> {
  const here = fileURLToPath(import.meta.url)
  return supervise({
    program: path.join(path.dirname(here), `rank-main${path.extname(here)}`),
    ranks: specs.map((spec) => ({ rank: spec.place.rank, spec, env })),
    graceSeconds: Math.max(...specs.map(({ config }) => config.launch.graceSeconds)),
    signal,
    ...(lost === undefined ? {} : { lost }),
    ...(onCause === undefined ? {} : { onCause }),
    logDir,
    // The events file is the successor's then.
    onEvent: (_, body) => (lost?.aborted === true ? undefined : events.emit(EventBody.parse(body))),
  })
}

/** Without these gloo takes the address that the host's own name leads to, which often is a loopback address. */
export function interfaceVariables(name: string | null): Record<string, string> {
  if (name === null) return {}
  const wanted = ['GLOO_SOCKET_IFNAME', 'NCCL_SOCKET_IFNAME']
  return Object.fromEntries(wanted.filter((key) => (process.env[key] ?? '') === '').map((key) => [key, name]))
}
