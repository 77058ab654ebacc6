import { afterEach, expect } from 'vitest'
import { python } from './tensors.ts'

export { digestsOf, python, sampleSpecs, synthesize } from './tensors.ts'

/** Fails when a test left something alive in Python. */
export async function expectNoHandles(): Promise<void> {
  expect(await python.call('host.live', {}), 'objects left in Python').toEqual({ handles: 0 })
}

/** Call it once at the top of a file or a describe: every test in it then has to free what it made. */
export function checkHandlesAfterEach(): void {
  afterEach(expectNoHandles)
}
