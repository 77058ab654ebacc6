import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { RunConfig } from '../../src/config/schema.ts'
import { checkStore } from '../../src/roles/doctor/doctor-store.ts'
import { describeOnFuse, type MoodName, mounted } from './mounted.ts'

const on = async (mood: MoodName) => {
  const point = await mounted(mood)
  const config = RunConfig.parse({
    version: 1,
    target: { model: point },
    store: { root: path.join(point, 'store') },
    manifest: path.join(point, 'manifest'),
  })
  const checks = await checkStore(config.store)
  // No folder that a later command would take for a store.
  expect(await readdir(point)).toEqual([])
  return checks.find(({ id }) => id === 'store.filesystem')
}

describeOnFuse('doctor says of a file system', () => {
  it.each(['cached', 'bigInodes', 'permForNotEmpty', 'lostAnswers', 'shortReads'] as const)(
    '%s: that it does what a store needs',
    async (mood) => {
      const reason = expect.stringMatching(/^fuse\.draftbridge-test \(draftbridge-test\) does what a store needs/)
      expect(await on(mood)).toMatchObject({ state: 'ok', reason })
    },
  )

  it('without links: what is missing, and what to do', async () => {
    const [reason, fix] = [expect.stringContaining('no hard links'), expect.stringContaining('ext4')]
    expect(await on('noLinks')).toMatchObject({ state: 'error', reason, fix })
  })

  it('whose files bear another clock: by how much', async () => {
    const reason = expect.stringMatching(/7(199|200) s ahead of this host's clock/)
    expect(await on('clockAhead')).toMatchObject({ state: 'warning', reason })
  })
})
