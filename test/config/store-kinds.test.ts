import { expect, it } from 'vitest'
import { sharedKinds, storeKinds, traitsOf } from '../../src/config/store-kinds.ts'
import { storeKinds as openers } from '../../src/store/kinds.ts'

it('names the kinds that the store can open, and no others', () => {
  expect([...storeKinds].sort()).toEqual(Object.keys(openers).sort())
})

it('says which kinds several processes can open', () => {
  expect(sharedKinds).toBe('shared-dir')
  expect(traitsOf({ kind: 'local' })).toEqual({ shared: false, directory: false })
})
