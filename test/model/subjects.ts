import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { StoreId } from '../../src/core/ids.ts'
import { LocalBackend, LocalData } from '../../src/store/backends/local.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { python } from '../support/tensors.ts'
import { type ModelSubject, runSteps, stepsArbitrary } from './run-steps.ts'

type Make = (retain: boolean) => Promise<ModelSubject>

async function local(retain: boolean): Promise<ModelSubject> {
  const data = new LocalData()
  // Keeps the data while the clients come and go.
  const anchor = new LocalBackend(python, data)
  const id = StoreId.parse('model')
  return {
    open: () => FeatureStore.open(new LocalBackend(python, data), { id, retain }),
    end: () => anchor.close(),
  }
}

async function sharedDir(retain: boolean): Promise<ModelSubject> {
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-model-'))
  const root = path.join(dir, 'store')
  return {
    open: () => sharedDirFeatureStore({ python, root, retain, durability: 'fast' }),
    end: () => rm(dir, { recursive: true, force: true }),
  }
}

export const modelSubjects: Readonly<Record<string, Make>> = { local, 'shared-dir': sharedDir }

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
