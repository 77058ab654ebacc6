import { describe, expect, it } from 'vitest'
import { isLoop } from '../../../src/roles/generate/answer-filter.ts'

const words = (count: number) => Array.from({ length: count }, (_, at) => `word${at}`).join(' ')

describe('a text that', () => {
  it.each([
    ['ends in one sentence again and again', `It is so. ${'I like to eat apples. '.repeat(6)}`],
    ['ends in one sign', `Wow${'a'.repeat(80)}`],
    ['ends in a long piece four times', `${words(30)} `.repeat(4)],
    [
      'says a few sentences in turns',
      Array.from({ length: 40 }, (_, at) => `The number ${at % 5} is a good one.`).join(' '),
    ],
  ])('%s is a loop', (_, text) => {
    expect(isLoop(text)).toBe(true)
  })

  it.each([
    ['is empty', ''],
    ['is long', words(500)],
    ['lists numbers', Array.from({ length: 80 }, (_, at) => `${at + 1}. item number ${at * 7}`).join('\n')],
    ['ends in a rule of a table', `| a | b |\n|${'---|'.repeat(30)}`],
    ['ends in closing brackets', `f(${'['.repeat(20)}1${']'.repeat(20)})\n${'}\n'.repeat(30)}`],
    ['repeats three times', `${'Go on, go on and go on then. '.repeat(3)}`],
  ])('%s is none', (_, text) => {
    expect(isLoop(text)).toBe(false)
  })
})
