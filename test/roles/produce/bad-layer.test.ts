import { expect, it } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
import { eagle3 } from '../../../src/drafts/eagle3/eagle3.ts'
import { withLayer } from '../../../src/roles/produce/bad-layer.ts'
import { exampleContract } from '../../support/refs.ts'

const bad = (field: string, column: number) =>
  finding('FEATURE_INVALID', 'values that are no numbers', { file: 'a.ckpt', field, found: '1', fix: 'x', column })

// Hidden size 8, layers 1, 3, 4.
it.each([
  ['aux_hidden_state', 0, 'aux_hidden_state, layer 1'],
  ['aux_hidden_state', 7, 'aux_hidden_state, layer 1'],
  ['aux_hidden_state', 8, 'aux_hidden_state, layer 3'],
  ['aux_hidden_state', 23, 'aux_hidden_state, layer 4'],
  ['hidden_state', 5, 'hidden_state'],
])('names the layer of %s, column %d', (field, column, expected) => {
  const error = withLayer(bad(field, column), eagle3, exampleContract)
  expect(error.details).toMatchObject({ file: 'a.ckpt', field: expected, state: expected })
  expect(error.message.split('\n')).toEqual([
    'values that are no numbers',
    '  file:  a.ckpt',
    `  field: ${expected}`,
    '  found: 1',
    '  fix:   x',
  ])
})

it('leaves every other error alone', () => {
  const other = finding('FEATURE_INVALID', 'cut short', { file: 'a.ckpt', field: 'aux_hidden_state' })
  expect(withLayer(other, eagle3, exampleContract)).toBe(other)
  expect(withLayer(bad('input_ids', 3), eagle3, exampleContract).details.state).toBeUndefined()
})
