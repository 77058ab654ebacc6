import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { configFlag, trainedPlaces } from '../../src/cli/role-session.ts'
import { shellWord } from '../../src/cli/shell-word.ts'

it('the next command has the --set flags of this one, in quotes where a shell wants them', () => {
  const set = ['train.epochs=3', 'eval.steps=[3, 5]']
  expect(configFlag({ config: 'a.yaml', set })).toBe("-c a.yaml --set train.epochs=3 --set 'eval.steps=[3, 5]'")
  expect(configFlag({ config: 'my run/a.yaml', set: [] })).toBe("-c 'my run/a.yaml'")
})

it.each(['plain', '', "it's", 'a b', '$HOME', '*.ckpt', '`id`', '"', '!x', '~/f', 'a\\b'])(
  'a shell reads %j back',
  (text) => {
    expect(execFileSync('sh', ['-c', `printf %s ${shellWord(text)}`]).toString()).toBe(text)
  },
)

it('a run that was finished before this start says so', () => {
  const flags = { config: 'a.yaml', set: [] }
  expect(trainedPlaces(flags, '/c', new Set(['train.checkpoint'])).note).toContain('finished already')
  const { note, next } = trainedPlaces(flags, '/my draft', new Set(['train.started', 'train.finished']))
  expect(note).toBeUndefined()
  expect(trainedPlaces(flags, '/c', new Set()).note).toBeUndefined()
  expect(next).toContain("eval -c a.yaml --draft '/my draft'")
})
