import { appendFile, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import { generate } from '../../../src/roles/generate/generate.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { finished, producing } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
})

let dir = ''
beforeEach(async () => {
  dir = await tempDir()
})

const talk = (id: string, ...users: readonly string[]) => ({
  id,
  messages: users.flatMap((content) => [
    { role: 'user', content },
    { role: 'assistant', content: 'an old answer' },
  ]),
})
const call = { function: { name: 'f', arguments: { a: 1 } } }
const TALKS = [
  ...Array.from({ length: 8 }, (_, at) => talk(`t${at}`, `question ${at}`)),
  talk('two', 'first', 'second'),
  { id: 'prompt', messages: [{ role: 'user', content: 'no answer yet' }] },
  { messages: talk('', 'without an id').messages },
  {
    id: 'calls',
    messages: [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: '', tool_calls: [call] },
    ],
  },
]

async function config(more: Record<string, unknown> = {}, out = 'out.jsonl'): Promise<RunConfig> {
  const file = path.join(dir, 'talks.jsonl')
  await writeFile(file, TALKS.map((one) => `${JSON.stringify(one)}\n`).join(''))
  return producing(inputs, dir, {
    data: { conversations: file, maxBadShare: 0.5, maxLength: 4000 },
    // The target is a small random model, which ends a turn by chance only.
    generate: { out: path.join(dir, out), maxNewTokens: 400, temperature: 1, ...more },
  })
}

const linesOf = async (file: string) =>
  (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
const sorted = async (file: string) => (await linesOf(file)).sort()

describe('generate', () => {
  it('writes an answer of the target for each turn, and says what became of each input', async () => {
    const given = await config()
    const report = await generate(given, null, watched())
    const left = report.leftOut.reduce((sum, { count }) => sum + count, 0)
    expect(report.written + left + 1).toBe(TALKS.length)
    expect(report.refused).toEqual([
      expect.objectContaining({ count: 1, places: [expect.stringContaining('talks.jsonl:12')] }),
    ])
    const rows = (await linesOf(report.out)).map((line) => JSON.parse(line))
    expect(rows.length).toBe(report.written)
    expect(report.written).toBeGreaterThan(0)
    for (const { id, messages, generated } of rows) {
      const answers = messages.filter(({ role }: { role: string }) => role === 'assistant')
      expect(answers.length).toBe(id === 'two' ? 2 : 1)
      for (const { content } of answers) expect(content).not.toContain('an old answer')
      expect(generated).toEqual({ seed: 0, tokens: expect.any(Number) })
    }
  })

  it('gives the same conversations in batches of any size, and after a kill in the middle of a line', async () => {
    const [one, many] = [
      await generate(await config({ batch: 1 }, 'one.jsonl'), null, watched()),
      await config({ batch: 5 }),
    ]
    const whole = await generate(many, null, watched())
    expect(await sorted(whole.out)).toEqual(await sorted(one.out))
    expect(await sorted(`${whole.out}.left-out.jsonl`)).toEqual(await sorted(`${one.out}.left-out.jsonl`))

    const [first = '', second = ''] = await linesOf(whole.out)
    await writeFile(whole.out, `${first}\n${second.slice(0, 20)}`)
    const again = await generate(many, null, watched())
    expect(again.resumed).toBe(1)
    expect(await sorted(whole.out)).toEqual(await sorted(one.out))
    expect((await generate(many, null, watched())).answers).toBe(0)
  })

  it('goes on with the same settings only, and with a file of its own only', async () => {
    const given = await config()
    await generate(given, null, watched())
    const other = generate(await config({ temperature: 0.5 }), null, watched())
    await expect(other).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { found: expect.stringMatching('temperature') },
    })
    await appendFile(path.join(dir, 'out.jsonl'), 'notes of the user\n')
    await expect(generate(given, null, watched())).rejects.toMatchObject({
      details: { file: expect.stringMatching(/out\.jsonl:\d+$/) },
    })
  })

  it('in parts writes what one process writes', async () => {
    const whole = await generate(await config({}, 'whole.jsonl'), null, watched())
    const parts = []
    for (const index of [0, 1]) parts.push(await generate(await config(), { index, count: 2 }, watched()))
    expect(parts.map(({ out }) => path.basename(out))).toEqual(['out.part-0-of-2.jsonl', 'out.part-1-of-2.jsonl'])
    const both = (await Promise.all(parts.map(({ out }) => linesOf(out)))).flat()
    expect(both.sort()).toEqual(await sorted(whole.out))
  })

  it('makes up prompts too, and a capture takes what was written', async () => {
    const made = await config({ magpie: 12, maxNewTokens: 600 })
    const { out, written } = await generate(made, null, watched())
    expect(written).toBeGreaterThan(0)
    const context = watched()
    const taken = { ...made, data: { ...made.data, conversations: out } }
    await produce(taken, context)
    expect(finished(context)).toMatchObject({ inputs: written, refused: 0, skipped: 0 })
    expect((await readRefManifest({ dir: made.manifest })).refs.length).toBe(written)
  })
})
