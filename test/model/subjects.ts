import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { memoryPair, mixedPair, openPair } from '../support/store-pairs.ts'
import { python } from '../support/tensors.ts'
import { type ModelSubject, runSteps, stepsArbitrary } from './run-steps.ts'

type Make = (retain: boolean) => Promise<ModelSubject>

async function local(retain: boolean): Promise<ModelSubject> {
  const pair = await memoryPair()
  return { open: () => openPair(pair, { retain }), end: pair.end }
}

async function mixed(retain: boolean): Promise<ModelSubject> {
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-model-'))
  const pair = await mixedPair(dir)
  const end = async () => {
    await pair.end()
    await rm(dir, { recursive: true, force: true })
  }
  return { open: () => openPair(pair, { retain }), end }
}

async function sharedDir(retain: boolean): Promise<ModelSubject> {
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-model-'))
  const root = path.join(dir, 'store')
  return {
    open: () => sharedDirFeatureStore({ python, root, retain, durability: 'fast' }),
    end: () => rm(dir, { recursive: true, force: true }),
  }
}

export const modelSubjects: Readonly<Record<string, Make>> = {
  local,
  'shared-dir': sharedDir,
  'memory blobs with a directory': mixed,
}

export interface ModelCheck {
  readonly make: Make
  readonly runs: number
  readonly seed: number
}

/** Throws with the shortest sequence that fails and the seed that gives it again. */
export async function checkModel({ make, runs, seed }: ModelCheck): Promise<void> {
  const property = fc.asyncProperty(fc.boolean(), stepsArbitrary, async (retain, steps) => {
    await runSteps(await make(retain), retain, steps)
  })
  await fc.assert(property, { numRuns: runs, seed })
}
