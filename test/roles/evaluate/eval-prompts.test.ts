import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseEvalPrompt, readEvalPrompts } from '../../../src/roles/evaluate/eval-prompts.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-prompts-'))
})
afterAll(async () => {
  await rm(dir, { recursive: true, force: true })
})

async function file(name: string, content: string | Buffer): Promise<string> {
  const full = path.join(dir, name)
  await writeFile(full, content)
  return full
}

const HI = '{"messages":[{"role":"user","content":"Hi"}]}'
const line = (value: unknown): string => `${JSON.stringify(value)}\n`
const wrong = (where: object) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', details: expect.objectContaining(where) })

describe('a line of prompts', () => {
  it('with text is a prompt for the chat template', () => {
    expect(parseEvalPrompt({ id: 'a', prompt: 'Hi' }, 'f:1')).toEqual({
      id: 'a',
      content: { conversation: HI },
      where: 'f:1',
    })
  })

  it('with tokens is what stands before the answer, even when it has text too', () => {
    const both = { id: 'a', input_ids: [5, 6, 7, 8], loss_start: 3, prompt: 'Hi', finished: true }
    expect(parseEvalPrompt(both, 'f:1').content).toEqual({ inputIds: [5, 6, 7] })
  })

  it.each([
    ['"words"', '(the whole line)'],
    ['{"id":["a"],"prompt":"Hi"}', 'id'],
    ['{"id":"a"}', 'messages'],
    ['{"id":"a","prompt":""}', 'messages'],
    ['{"id":"a","prompt":"\\ud800"}', 'messages[0].content'],
    ['{"id":"a","messages":[{"role":"assistant","content":"Hello"}]}', 'messages'],
    ['{"id":"a","conversations":[{"from":"human"}]}', 'conversations[0].value'],
    ['{"id":"a","input_ids":[1,2]}', 'loss_start'],
    ['{"id":"a","input_ids":[1,2],"loss_start":0}', 'loss_start'],
    ['{"id":"a","input_ids":[1,2],"loss_start":3}', 'loss_start'],
    ['{"id":"a","input_ids":[1,-2],"loss_start":1}', 'input_ids[1]'],
    ['{"id":"a","input_ids":[],"loss_start":1}', 'input_ids'],
  ])('that is %s is refused and the field named', (text, field) => {
    const parse = () => parseEvalPrompt(JSON.parse(text), 'prompts.jsonl:7')
    expect(parse).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(parse).toThrow(/prompts\.jsonl:7/)
    expect(parse).toThrow(wrong({ file: 'prompts.jsonl:7', field }))
  })
})

describe('a conversation as a prompt', () => {
  it('is asked up to its first answer, with its system turn and its tools', () => {
    const tools = [{ type: 'function', function: { name: 'now' } }]
    const messages = [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: '1' },
      { role: 'user', content: 'Two?' },
    ]
    const { content } = parseEvalPrompt({ id: 7, messages, tools }, 'f:1')
    if (!('conversation' in content)) throw new Error('no conversation')
    expect(JSON.parse(content.conversation)).toEqual({ messages: messages.slice(0, 2), tools })
  })

  it('in the form of ShareGPT, without an id, has the name of its place', () => {
    const talk = {
      conversations: [
        { from: 'human', value: 'Hi' },
        { from: 'gpt', value: 'Hello' },
      ],
    }
    expect(parseEvalPrompt(talk, 'f:9')).toEqual({ id: 'f:9', content: { conversation: HI }, where: 'f:9' })
  })
})

describe('a file of prompts', () => {
  const three = line({ id: 'a', prompt: 'A' }) + line({ id: 'b', prompt: 'B' }) + line({ id: 'c', prompt: 'C' })

  it('is read plain or compressed, blank lines left out', async () => {
    const plain = await readEvalPrompts(await file('plain.jsonl', `${three}\n`), null)
    const packed = await readEvalPrompts(await file('packed.jsonl.gz', gzipSync(three)), null)
    expect(plain.map(({ id }) => id)).toEqual(['a', 'b', 'c'])
    expect(packed.map(({ content }) => content)).toEqual(plain.map(({ content }) => content))
  })

  it('is read only as far as the limit', async () => {
    const prompts = await readEvalPrompts(await file('limited.jsonl', `${three}not json\n`), 2)
    expect(prompts.map(({ id }) => id)).toEqual(['a', 'b'])
  })

  it('with a bad line is refused, and the line named', async () => {
    const bad = await file('bad.jsonl', `${three}\n{"id":"d"}\n`)
    await expect(readEvalPrompts(bad, null)).rejects.toEqual(wrong({ file: `${bad}:5`, field: 'messages' }))
  })

  it('that is one JSON array is read element by element', async () => {
    const array = JSON.stringify([{ prompt: 'A' }, { id: 'b', messages: [{ role: 'user', content: 'B' }] }], null, 1)
    const prompts = await readEvalPrompts(await file('array.json', array), null)
    expect(prompts.map(({ id }) => id)).toEqual([expect.stringContaining('array.json:'), 'b'])
  })

  it('may be a pattern', async () => {
    await file('part-1.jsonl', line({ id: '1', prompt: 'A' }))
    await file('part-2.jsonl', line({ id: '2', prompt: 'B' }))
    expect(await readEvalPrompts(path.join(dir, 'part-*.jsonl'), null)).toHaveLength(2)
  })

  it('with an id twice is refused', async () => {
    const twice = await file('twice.jsonl', three + three)
    await expect(readEvalPrompts(twice, null)).rejects.toEqual(wrong({ file: `${twice}:4`, field: 'id' }))
  })

  it('that is packed by its name only is read as it is', async () => {
    expect(await readEvalPrompts(await file('not.jsonl.gz', three), null)).toHaveLength(3)
  })

  it('that is empty or missing is refused', async () => {
    const empty = await file('empty.jsonl', '\n')
    for (const name of [empty, path.join(dir, 'missing.jsonl')]) {
      await expect(readEvalPrompts(name, null)).rejects.toEqual(wrong({ file: name, field: 'eval.prompts' }))
    }
  })
})
