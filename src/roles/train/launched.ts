import type { RunConfig } from '../../config/schema.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { endWithParent } from '../../launch/end-with-parent.ts'
import { thisMachine } from '../../launch/machine.ts'
import { interfaceTowards } from '../../launch/nodes/addresses.ts'
import { type LaunchedRank, launchedRank } from '../../launch/nodes/launched-rank.ts'
import { writeTorchelasticError } from '../../launch/nodes/torchelastic-error.ts'
import { threadsOf } from '../../launch/topology.ts'
import { EventBody } from '../../report/events/events.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import type { PoolPlace } from '../pools.ts'
import { dataToTrain } from './consume.ts'
import { rank } from './rank.ts'
import { interfaceVariables, type Trained, takenOver, trainedTo } from './train-ranks.ts'

/** This process as one rank of a job that somebody else's launcher has started. */
export interface Launched {
  readonly place: PoolPlace
  train(config: RunConfig, context: RoleContext): Promise<Trained>
  /** Tells the launcher why this rank failed. */
  tell(error: unknown): Promise<void>
}

/** From here on this process ends with its launcher. @throws CONFIG_INVALID when no launcher has told it its rank. */
export function joinLauncher(env: NodeJS.ProcessEnv): Launched {
  const told = launchedRank(env)
  endWithParent()
  return {
    place: { role: 'consumer', node: told.rank, nodes: told.worldSize, head: null, isWholeJob: false },
    train: (config, context) => trainAsLaunched(config, told, context),
    tell: (error) => writeTorchelasticError(error, Date.now() / 1000).catch(() => undefined),
  }
}

/**
 * One rank, in this process, of a job that somebody else's launcher has started and supervises. Waits for the manifest.
 * @throws what `consume` throws; CONFIG_INVALID when the ranks have different settings.
 */
async function trainAsLaunched(config: RunConfig, launched: LaunchedRank, context: RoleContext): Promise<Trained> {
  const { signal, events } = context
  const { launcher, restart, localRanks, ...place } = launched
  if (place.rank === 0) events.emit({ event: 'rank.launched', rank: 0, ranks: place.worldSize, launcher, restart })
  await dataToTrain(config, context)
  await makeFolder(config.run.dir, 'run.dir')
  // The others save nothing.
  await using claim = place.rank === 0 ? await claimWork(config.run.dir, 'train', context) : null
  // Before Python starts, which reads the environment once.
  const isAlone = localRanks >= place.worldSize
  Object.assign(process.env, interfaceVariables(await interfaceTowards(place.masterAddr, place.masterPort, isAlone)))
  const { cores } = await thisMachine()
  const spec = {
    place: { ...place, threads: threadsOf(config.launch.threadsPerRank, cores, localRanks) },
    config,
    features: 'manifest',
    publishFrom: claim?.publishing.dir ?? null,
    resumeFrom: 'agreed',
    dryRun: false,
  }
  const event = (body: unknown) => events.emit(EventBody.parse(body))
  const trained = rank({ spec, signal, phase: () => undefined, event })
  const result = await trained.catch(async (error: unknown) => {
    throw (claim === null ? null : await takenOver(claim)) ?? error
  })
  if (claim?.lost.aborted === true) await claim.assertHeld()
  return trainedTo(result, signal)
}
