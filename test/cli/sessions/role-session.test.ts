import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { configFlag, runRole, trainedPlaces } from '../../../src/cli/sessions/role-session.ts'
import { shellWord } from '../../../src/cli/texts/shell-word.ts'
import { finding } from '../../../src/core/errors.ts'
import { tempDir } from '../../support/temp-dir.ts'

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

it('a look at a finished run that fails puts no error into its report', async () => {
  const dir = await tempDir()
  const config = path.join(dir, 'a.yaml')
  await writeFile(config, 'version: 1\ntarget: { model: m }\nrun: { dir: run }\n')
  const look = async (onlyLooks: boolean): Promise<string> => {
    const stop = { signal: new AbortController().signal, embedsPython: false }
    const run = () => Promise.reject(finding('CONFIG_INVALID', 'no prompts', {}))
    const deed = { embedsPython: false, onlyLooks, run, places: () => ({}) }
    await expect(runRole({ config, set: [], quiet: true }, stop, () => deed)).rejects.toThrow('no prompts')
    return readFile(path.join(dir, 'run/report.html'), 'utf8')
  }
  expect(await look(true)).not.toContain('role="alert"')
  expect(await look(false)).toContain('role="alert"')
})
