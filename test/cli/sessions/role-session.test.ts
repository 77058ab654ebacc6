import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { configFlag, hintsAfterTraining, runRole } from '../../../src/cli/sessions/role-session.ts'
import { listenForStop } from '../../../src/cli/sessions/stop.ts'
import { shellWord } from '../../../src/cli/texts/shell-word.ts'
import { RunConfig } from '../../../src/config/schema.ts'
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

it('the summary says when the run was finished before this start', () => {
  const flags = { config: 'a.yaml', set: [] }
  const config = RunConfig.parse({ version: 1, target: { model: 'm' } })
  const hints = (draft: string, ...names: string[]) => hintsAfterTraining(flags, draft, new Set(names), config)
  expect(hints('/c', 'train.checkpoint').note).toContain('finished already')
  const { note, next } = hints('/my draft', 'train.started', 'train.finished')
  expect(note).toBeUndefined()
  expect(hints('/c').note).toBeUndefined()
  expect(next).toContain("eval -c a.yaml --draft '/my draft' --set eval.prompts=FILE")
  const prompts = { ...config, eval: { ...config.eval, prompts: 'held-out.jsonl' } }
  expect(hintsAfterTraining(flags, '/c', new Set(), prompts).next).not.toContain('eval.prompts')
})

it('a read-only command that fails puts no error into the report of the run', async () => {
  const dir = await tempDir()
  const config = path.join(dir, 'a.yaml')
  await writeFile(config, 'version: 1\ntarget: { model: m }\nrun: { dir: run }\n')
  const reportAfter = async (readOnly: boolean): Promise<string> => {
    using stop = listenForStop(() => undefined)
    const run = () => Promise.reject(finding('CONFIG_INVALID', 'no prompts', {}))
    const task = { readOnly, run, hints: () => ({}) }
    await expect(runRole({ config, set: [], quiet: true }, stop, task)).rejects.toThrow('no prompts')
    return readFile(path.join(dir, 'run/report.html'), 'utf8')
  }
  expect(await reportAfter(true)).not.toContain('role="alert"')
  expect(await reportAfter(false)).toContain('role="alert"')
})
