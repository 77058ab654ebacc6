import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { RunConfig } from '../../config/schema.ts'
import { hasCode } from '../../core/errors.ts'
import { interrupted } from '../../core/interruption.ts'
import type { EventBody } from '../../report/events/events.ts'
import { verify } from '../../train/checkpoints/checkpoint.ts'
import type { RoleContext } from '../context.ts'
import { readyToTrain } from './consume.ts'
import { runRanks } from './train-ranks.ts'

/** Somebody who looks at what a training would be does not wait for a producer that has not begun. */
const WAIT_SECONDS = 10

export type Rehearsal = Extract<EventBody, { event: 'train.rehearsed' }>

/**
 * What `consume` does, for one optimiser step: the next one of the run, from its newest checkpoint if there is one.
 * Nothing is written to run.dir, not even a lock, and the store is as it was. Null when the run is finished.
 * @throws what `consume` throws; the logs of the ranks then lie where the error says.
 */
export async function dryRun(config: RunConfig, context: RoleContext): Promise<Rehearsal | null> {
  const launch = { ...config.launch, peerTimeoutSeconds: Math.min(config.launch.peerTimeoutSeconds, WAIT_SECONDS) }
  const { places, newest, finished } = await readyToTrain({ ...config, launch }, context)
  if (finished) {
    if (newest !== null) await verify(newest)
    return null
  }
  let found: Rehearsal | null = null
  const emit = (body: EventBody) => {
    if (body.event === 'train.rehearsed') found = body
    context.events.emit(body)
  }
  const logDir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-dry-run-'))
  const specs = places.map((place) => ({
    place,
    config,
    features: 'manifest' as const,
    publishFrom: null,
    resumeFrom: 'newest' as const,
    dryRun: true,
  }))
  await runRanks(specs, { logDir, signal: context.signal, events: { emit } }).catch(async (error: unknown) => {
    // These errors name the logs, so the logs must stay.
    if (!hasCode(error, 'RANK_DIED', 'RANK_HUNG')) await rm(logDir, { recursive: true, force: true })
    throw error
  })
  await rm(logDir, { recursive: true, force: true })
  if (!context.signal.aborted) return found
  throw interrupted('stopped; a dry run leaves nothing to go on from', context.signal)
}
