import { expect, it } from 'vitest'
import { inputsParts, inputsText } from '../../../src/refs/root/inputs.ts'

it('inputs are one line in a fixed order, and come apart again', () => {
  const parts = { 'features.files': 'ab12', 'data.maxLength': 18 }
  expect(inputsText(parts)).toBe('data.maxLength=18 features.files=ab12')
  expect(inputsParts(inputsText(parts))).toEqual({ 'data.maxLength': '18', 'features.files': 'ab12' })
})

it.each(['', 'ab12', 'a=b c'])('inputs of another form are one part: %j', (text) => {
  expect(inputsParts(text)).toEqual({ inputs: text })
})
