import { expect, it } from 'vitest'
import { checkContracts } from '../../scripts/check/contracts.ts'

const text = (files: number, dependencies: number, verdict: string) =>
  `Contracts\n\nAnalyzed ${files} files, ${dependencies} dependencies.\n---\n\npackages are layers ${verdict}\nno circles KEPT\n`

it('lists the contracts that are kept', () => {
  expect(checkContracts({ ok: true, output: text(126, 357, 'KEPT') })).toEqual({
    ok: true,
    output: '         packages are layers KEPT\n         no circles KEPT',
  })
})

it('fails when a contract is broken, with the whole output', () => {
  const output = text(126, 357, 'BROKEN')
  expect(checkContracts({ ok: false, output })).toEqual({ ok: false, output })
})

it.each([
  ['no module', text(0, 0, 'KEPT')],
  ['no import', text(126, 0, 'KEPT')],
  ['no contract', 'Analyzed 126 files, 357 dependencies.\n'],
  ['nothing that it understands', ''],
])('fails when lint-imports saw %s', (_, output) => {
  expect(checkContracts({ ok: true, output }).ok).toBe(false)
})
