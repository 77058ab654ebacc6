import os from 'node:os'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { freePort, thisMachine } from '../../launch/machine.ts'
import { interfaceOf, ownAddresses } from '../../launch/nodes/addresses.ts'
import { JobHead } from '../../launch/nodes/job-head.ts'
import { joinJob, tellHead } from '../../launch/nodes/job-member.ts'
import type { Hello, JobPlan } from '../../launch/nodes/job-message.ts'
import { ranksOfNode, topology } from '../../launch/topology.ts'
import { EventBody } from '../../report/events/events.ts'
import { claimWork } from '../claim-work.ts'
import type { RoleContext } from '../context.ts'
import type { PoolPlace } from '../pools.ts'
import { jobSettings } from './job-settings.ts'
import { prepareRun, type TrainingData } from './prepare-run.ts'
import { interfaceVariables, logsOf, runRanks, type Trained, takenOver, trainedTo } from './train-ranks.ts'

export interface PoolWork {
  readonly config: RunConfig
  readonly data: TrainingData
  readonly place: PoolPlace
  readonly context: RoleContext
}

interface Ranks {
  readonly plan: JobPlan
  readonly interface: string | null
  /** Null on nodes that save nothing. */
  readonly publishFrom: string | null
  readonly lost: AbortSignal
  /** Told at once of a failure here: the others need not wait until all processes have ended. */
  readonly onCause: (cause: Error) => void
}

/**
 * The node of a training pool that has rank 0: the others join it, and it tells them their ranks.
 * @throws PEER_TIMEOUT when not all nodes come, PEER_FAILED naming the node that failed, CONFIG_INVALID when nodes have
 * other settings, and what `trainRanks` throws.
 */
export async function trainAsFirstNode(work: PoolWork): Promise<Trained> {
  const { config, place, context } = work
  await makeFolder(config.run.dir, 'run.dir')
  await using claim = await claimWork(config.run.dir, 'train', context)
  const { events, signal } = context
  const timeoutSeconds = config.launch.peerTimeoutSeconds
  await using head = await JobHead.open({
    dir: config.run.dir,
    host: os.hostname(),
    nodes: place.nodes,
    addresses: addressesOf(work),
    settings: await settingsOf(work),
    timeoutSeconds,
    signal,
    onWaiting: (missing) => {
      const why = `training node ${missing.join(', ')} (of 0 to ${place.nodes - 1}) has not come`
      events.emit({ event: 'nodes.waiting', why, timeoutSeconds })
    },
    onEvent: (body) => events.emit(EventBody.parse(body)),
  })
  const lost = AbortSignal.any([claim.lost, head.broken])
  const result = await leadThem(work, head, { publishFrom: claim.publishing.dir, lost }).catch(
    async (error: unknown) => {
      throw (await takenOver(claim)) ?? (await head.failed(error))
    },
  )
  return trainedTo(result, signal, ON_ALL)
}

async function leadThem(work: PoolWork, head: JobHead, own: Pick<Ranks, 'publishFrom' | 'lost'>): Promise<unknown> {
  const others = await head.meet()
  const [plan, ...theirs] = await planned(work, others)
  if (plan === undefined) throw new Error('a pool without nodes')
  work.context.events.emit({ event: 'nodes.joined', nodes: nodesOf(plan, others), address: plan.masterAddr })
  head.start(theirs)
  const result = await runHere(work, {
    ...own,
    plan,
    interface: interfaceOf(plan.masterAddr) ?? interfaceOf(head.localAddress),
    onCause: (cause) => head.tell(cause),
  })
  await head.settled()
  return result
}

/** A node of a training pool that is not its first one. */
export async function trainAsOtherNode(work: PoolWork): Promise<Trained> {
  const { config, place, context } = work
  const { events, signal } = context
  const timeoutSeconds = config.launch.peerTimeoutSeconds
  const self = { dir: config.run.dir, node: place.node, host: os.hostname() }
  // A node that cannot join says so to the one that waits for it.
  const own = await Promise.all([rankCount(config), settingsOf(work)]).catch(async (error: unknown) => {
    await tellHead(self, error).catch(() => undefined)
    throw error
  })
  const [ranks, settings] = own
  await using member = await joinJob({
    ...self,
    ranks,
    settings,
    timeoutSeconds,
    signal,
    onWaiting: (why) => events.emit({ event: 'nodes.waiting', why, timeoutSeconds }),
  })
  const emit = (body: EventBody) => {
    events.emit(body)
    member.event(body)
  }
  const { plan, broken } = member
  const onCause = (cause: Error) => member.tell(cause)
  const started = { plan, interface: member.interface, publishFrom: null, lost: broken, onCause }
  const trained = runHere({ ...work, context: { ...context, events: { emit } } }, started)
  const result = await trained.then(settledWith(member), async (error: unknown) => {
    throw await member.failed(error)
  })
  return trainedTo(result, signal, ON_ALL)
}

const ON_ALL = 'the same command on all nodes'

const settledWith = (member: Pick<JobHead, 'settled'>) => async (result: unknown) => {
  await member.settled()
  return result
}

const rankCount = async ({ launch }: RunConfig): Promise<number> =>
  ranksOfNode(launch.ranksPerNode, await thisMachine())

const settingsOf = async ({ config, data, place }: PoolWork) => ({
  ...(await jobSettings(config, data, config.store.retain)),
  'nodes of the training pool': String(place.nodes),
})

/** Runs the ranks of this node; what its first one returns. */
async function runHere({ config, context }: PoolWork, ranks: Ranks): Promise<unknown> {
  const { plan, publishFrom, lost, onCause } = ranks
  const { signal, events } = context
  const machine = await thisMachine()
  const places = topology({
    ranks: ranksOfNode(config.launch.ranksPerNode, machine),
    firstRank: plan.firstRank,
    worldSize: plan.worldSize,
    cores: machine.cores,
    threadsPerRank: config.launch.threadsPerRank,
    master: { addr: plan.masterAddr, port: plan.masterPort },
  })
  const about = { config, features: 'manifest', publishFrom, resumeFrom: plan.resumeFrom, dryRun: false } as const
  const specs = places.map((place) => ({ place, ...about }))
  const env = interfaceVariables(ranks.interface)
  const [result] = await runRanks(specs, { logDir: logsOf(config), signal, lost, events, env, onCause })
  return result
}

/** Where this node can be reached, best first: as the config or the launcher says, else at any address that it has. */
function addressesOf({ config, place }: PoolWork): readonly string[] {
  const named = rendezvousOf(config)?.addr ?? place.head
  return [...new Set([...(named === null ? [] : [named]), ...ownAddresses()])]
}

function rendezvousOf({ launch }: RunConfig): { readonly addr: string; readonly port: number } | null {
  const [, addr, port] = /^(.+):(\d+)$/.exec(launch.rendezvous ?? '') ?? []
  return addr === undefined ? null : { addr, port: Number(port) }
}

/** The plan of each node, by its number. */
async function planned(work: PoolWork, others: readonly Hello[]): Promise<readonly JobPlan[]> {
  const { config, data } = work
  const own = await rankCount(config)
  const counts = [own, ...others.map(({ ranks }) => ranks)]
  const worldSize = counts.reduce((sum, ranks) => sum + ranks, 0)
  const { newest } = await prepareRun(config, data, { rank: 0, worldSize })
  const masterAddr = sharedAddress(addressesOf(work), others)
  const masterPort = rendezvousOf(config)?.port ?? (await freePort())
  const resumeFrom = newest?.record.globalStep ?? null
  let firstRank = 0
  return counts.map((ranks) => {
    const plan = { firstRank, worldSize, masterAddr, masterPort, resumeFrom }
    firstRank += ranks
    return plan
  })
}

/** The best address of this node that all others have reached. */
function sharedAddress(addresses: readonly string[], others: readonly Hello[]): string {
  const shared = addresses.find((one) => others.every(({ reached }) => reached.some(({ address }) => address === one)))
  if (shared !== undefined) return shared
  const ways = others.map(({ host, reached }) => `${host} at ${reached.map(({ address }) => address).join(', ')}`)
  throw finding('CONFIG_INVALID', 'the nodes reach the first one at different addresses only', {
    field: 'launch.rendezvous',
    found: ways.join('; '),
    fix: 'set launch.rendezvous to an address of this node that all others reach, and a free port',
  })
}

function nodesOf(own: JobPlan, others: readonly Hello[]): { node: number; host: string; ranks: number }[] {
  const theirs = others.map(({ host, ranks }, index) => ({ node: index + 1, host, ranks }))
  const ranks = own.worldSize - theirs.reduce((sum, one) => sum + one.ranks, 0)
  return [{ node: 0, host: os.hostname(), ranks }, ...theirs]
}
