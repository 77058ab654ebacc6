import { expect, it } from 'vitest'
import { fillDisk, smallDisk } from '../../scripts/faults/full-disk.ts'
import { allErrors } from '../../scripts/faults/injected-errors.ts'
import { whyNoStrace } from '../../scripts/faults/traced-calls.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()
const reason = whyNoStrace()

it('a call that fails is told with its code, and neither loses nor leaves anything', async (context) => {
  if (reason !== null) context.skip(reason)
  const { outcomes } = await allErrors(['re-put'], await tempDir(), 'ends')
  const wrong = outcomes.filter(({ broken }) => broken.length > 0)
  expect(wrong.map(({ dir: _, before: __, ...told }) => told)).toEqual([])
  expect(new Set(outcomes.map(({ errno }) => errno))).toEqual(new Set(['ENOSPC', 'EDQUOT', 'EIO', 'EINTR', 'EMFILE']))
}, 600_000)

it('a disk that is really full keeps what it has, and takes more when something has gone', async (context) => {
  const disk = await smallDisk(64)
  if (typeof disk === 'string') return context.skip(disk)
  await using mounted = disk
  const { stored, ...found } = await fillDisk(python, mounted.dir)
  expect(found).toEqual({ code: 'STORE_FULL', readable: stored, fitsAfterAbort: true, staged: [] })
  expect(stored).toBeGreaterThan(5)
})
