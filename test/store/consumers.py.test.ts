import path from 'node:path'
import { expect, it } from 'vitest'
import { runConsumers } from '../../scripts/faults/consumers.ts'
import { tempDir } from '../support/temp-dir.ts'

it('two consumers, one killed again and again: every sample processed, none acknowledged twice, store empty', async () => {
  const outcome = await runConsumers({ root: path.join(await tempDir(), 'store'), samples: 150, kills: 3 })
  expect(outcome).toMatchObject({ unprocessed: [], twice: [], left: 0, kills: 3 })
})
