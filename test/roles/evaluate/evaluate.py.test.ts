import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../../src/config/schema.ts'
import { systemClock } from '../../../src/core/clock.ts'
import type { EventBody } from '../../../src/report/events/events.ts'
import type { RoleContext } from '../../../src/roles/context.ts'
import { EvalReport } from '../../../src/roles/evaluate/eval-report.ts'
import { evaluate } from '../../../src/roles/evaluate/evaluate.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'

const run = promisify(execFile)
const support = (script: string): string => path.join(import.meta.dirname, '../../support', script)
const root = path.join(import.meta.dirname, '../../..')

let dir: string
beforeAll(async () => {
  dir = await tempDir()
  const env = { ...process.env, PYTHONPATH: path.join(root, 'python') }
  const make = (script: string, ...args: string[]) =>
    run(path.join(root, '.venv/bin/python'), [support(script), ...args], { env })
  await Promise.all([
    make('make_tiny_target.py', path.join(dir, 'target'), '--layers', '6'),
    make('make_tiny_draft.py', path.join(dir, 'draft')),
    make('make_tiny_draft.py', path.join(dir, 'narrow'), '--hidden', '16'),
  ])
})
checkHandlesAfterEach()

const PROMPTS = [
  { id: 'text', prompt: 'Hello' },
  { id: 'tokens', input_ids: [1, 40, 50, 60, 70], loss_start: 4, prompt: 'not read' },
]

async function configOf(lines: readonly object[], about: object = {}): Promise<RunConfig> {
  const prompts = path.join(dir, 'prompts.jsonl')
  await writeFile(prompts, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return RunConfig.parse({
    version: 1,
    run: { dir: path.join(dir, 'run') },
    target: { model: path.join(dir, 'target') },
    eval: { prompts, maxNewTokens: 12, steps: [2, 3, 2], ...about },
  })
}

function recording(controller = new AbortController()): RoleContext & { seen: EventBody[] } {
  const seen: EventBody[] = []
  return { clock: systemClock, signal: controller.signal, events: { emit: (body) => seen.push(body) }, seen }
}

const draft = (name = 'draft') => ({ draft: path.join(dir, name) })

describe('evaluate', () => {
  it('decodes every prompt plainly and at each number of steps, and keeps the report', async () => {
    const context = recording()
    const report = await evaluate(await configOf(PROMPTS), draft(), context)
    expect(report.prompts.map(({ id, steps }) => [id, steps])).toEqual([
      ['text', 2],
      ['text', 3],
      ['tokens', 2],
      ['tokens', 3],
    ])
    expect(report.lossless).toBe(true)
    expect(Object.keys(report.tau)).toEqual(['2', '3'])
    for (const { id, tokens, outputIds } of report.prompts) {
      expect(outputIds).toEqual(report.plain.find((plain) => plain.id === id)?.outputIds)
      expect(tokens).toBe(outputIds.length - 1)
    }
    expect(EvalReport.parse(JSON.parse(await readFile(path.join(dir, 'run', 'eval.json'), 'utf8')))).toEqual(report)
    expect(context.seen.map(({ event }) => event)).toEqual([
      'eval.started',
      'eval.prompt',
      'eval.prompt',
      'eval.finished',
    ])
  })

  it('gives a text prompt to the target as a user turn, ready for the answer', async () => {
    const text = await evaluate(await configOf([{ id: 'text', prompt: 'Hello' }]), draft(), recording())
    // The tiny target's tokenizer: three specials, printable ASCII from '!' on, the newline as 201.
    const ascii = (word: string) => [...Buffer.from(word)].map((byte) => byte - 33 + 3)
    const ids = [1, ...ascii('user'), 201, ...ascii('Hello'), 2, 201, 1, ...ascii('assistant'), 201]
    const same = await configOf([{ id: 'same', input_ids: ids, loss_start: ids.length }])
    const tokens = await evaluate(same, draft(), recording())
    expect(tokens.plain[0]?.outputIds).toEqual(text.plain[0]?.outputIds)
  })

  it.each([
    ['a draft that is not there', 'nowhere', {}, 'CHECKPOINT_INVALID', undefined],
    ['a draft of another width', 'narrow', {}, 'CHECKPOINT_INVALID', 'hidden_size'],
    ['no prompts', 'draft', { prompts: null }, 'CONFIG_INVALID', 'eval.prompts'],
    [
      'answers too long for the target',
      'draft',
      { maxNewTokens: 600 },
      'CONFIG_INVALID',
      'input_ids, eval.maxNewTokens',
    ],
    ['answers of one token', 'draft', { maxNewTokens: 1 }, 'CONFIG_INVALID', 'eval.prompts, eval.maxNewTokens'],
  ])('refuses %s', async (_, name, about, code, field) => {
    const failed = evaluate(await configOf(PROMPTS, about), draft(name), recording())
    const details = field === undefined ? expect.anything() : expect.objectContaining({ field })
    await expect(failed).rejects.toEqual(expect.objectContaining({ code, details }))
  })

  it('names the line of a prompt with a token that the target does not have', async () => {
    const config = await configOf([...PROMPTS, { id: 'c', input_ids: [1, 5000], loss_start: 2 }])
    const file = `${config.eval.prompts}:3`
    await expect(evaluate(config, draft(), recording())).rejects.toEqual(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        details: expect.objectContaining({ file, field: 'input_ids' }),
      }),
    )
  })

  it('stops between two prompts when it is asked to', async () => {
    const controller = new AbortController()
    const context = recording(controller)
    const events = {
      emit: (body: EventBody) => {
        context.seen.push(body)
        if (body.event === 'eval.prompt') controller.abort('SIGTERM')
      },
    }
    await expect(evaluate(await configOf(PROMPTS), draft(), { ...context, events })).rejects.toEqual(
      expect.objectContaining({ code: 'INTERRUPTED', exitCode: 143 }),
    )
    expect(context.seen).toHaveLength(2)
  })
})
