import { describe, it } from 'vitest'
import { checkHandlesAfterEach } from '../support/python.ts'
import { checkModel, modelSubjects } from './subjects.ts'

/** `DRAFTBRIDGE_TEST_MODEL_SEED` asks for other ones; thousands of sequences are in scripts/faults/model.ts. */
const seed = Number(process.env['DRAFTBRIDGE_TEST_MODEL_SEED'] ?? 1)

describe.each(Object.entries(modelSubjects))('%s behaves like a map with leases and claims', (_, make) => {
  checkHandlesAfterEach()
  it(`in 75 random sequences of several clients (seed ${seed})`, () => checkModel({ make, runs: 75, seed }))
})
