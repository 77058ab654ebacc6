import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { RunId } from '../../../src/core/ids.ts'
import { readConversations, surveyConversations } from '../../../src/roles/conversations/read-conversations.ts'
import { tempDir } from '../../support/temp-dir.ts'

const run = RunId.parse('run')
const whole = { runId: run, limit: null, part: null }

async function fileOf(content: string | Buffer | readonly unknown[], name = 'talks.jsonl'): Promise<string> {
  const file = path.join(await tempDir(), name)
  const isText = typeof content === 'string' || Buffer.isBuffer(content)
  const lines = isText ? content : content.map((line) => JSON.stringify(line)).join('\n')
  await writeFile(file, name.endsWith('.gz') ? gzipSync(lines) : lines)
  return file
}

/** Ids and content of what was read; of what was refused, its place and reason. */
async function read(file: string | readonly string[], limit: number | null = null): Promise<readonly unknown[]> {
  const all: unknown[] = []
  for await (const item of readConversations(typeof file === 'string' ? [file] : file, {
    runId: run,
    limit,
    part: null,
  })) {
    const { file: at = '', field, found } = item.kind === 'refused' ? item.error.details : {}
    if (item.kind === 'refused') all.push(`${path.basename(at)} ${field}: ${found}`)
    else all.push([item.sampleId, JSON.parse(item.json)])
  }
  return all
}

const [asks, says] = [
  { role: 'user', content: 'hi' },
  { role: 'assistant', content: 'ho' },
]
const messages = [asks, says]

describe('conversations', () => {
  it.each(['talks.jsonl', 'talks.jsonl.gz', 'talks'])('are read in all their forms from %s', async (name) => {
    const file = await fileOf(
      [
        { id: 'one', messages, source: 'x' },
        {
          id: 7,
          conversations: [
            { from: 'human', value: 'hi' },
            { from: 'gpt', value: 'ho' },
          ],
        },
        { id: 'three', input_ids: [1, 2, 3], loss_start: 2, prompt: 'p', finished: true },
        { id: 'four', messages: null, conversations: messages, system: 'be good' },
      ],
      name,
    )
    expect(await read(file)).toEqual([
      ['run:one', { messages }],
      ['run:7', { messages }],
      ['run:three', { input_ids: [1, 2, 3], loss_start: 2 }],
      ['run:four', { messages: [{ role: 'system', content: 'be good' }, ...messages] }],
    ])
  })

  it.each([
    [
      'an array over many lines',
      JSON.stringify(
        [
          { id: 'a', messages },
          { id: 'b', messages },
        ],
        null,
        2,
      ),
    ],
    [
      'an array on one line',
      JSON.stringify([
        { id: 'a', messages },
        { id: 'b', messages },
      ]),
    ],
    [
      'objects over many lines',
      [
        { id: 'a', messages },
        { id: 'b', messages },
      ]
        .map((o) => JSON.stringify(o, null, 1))
        .join('\n'),
    ],
    [
      'an array after a byte order mark',
      `\uFEFF${JSON.stringify(
        [
          { id: 'a', messages },
          { id: 'b', messages },
        ],
        null,
        2,
      )}`,
    ],
  ])('are read from %s', async (_, text) => {
    expect(await read(await fileOf(text, 'talks.json'))).toEqual([
      ['run:a', { messages }],
      ['run:b', { messages }],
    ])
  })

  it('are the lists of messages on the lines', async () => {
    expect((await read(await fileOf([messages, messages])))[1]).toEqual([
      expect.stringMatching(/^run:x-[0-9a-f]{24}-2$/),
      { messages },
    ])
  })

  it('of several files are read in their order', async () => {
    const files = [await fileOf([{ id: 'a', messages }]), await fileOf([{ id: 'b', messages }])]
    expect((await read(files)).flat()).toEqual(['run:a', { messages }, 'run:b', { messages }])
  })

  it('keep what a template may show: tools, calls, thoughts, parts of text', async () => {
    const call = { id: 'c', type: 'function', function: { name: 'get', arguments: '{"city": "Oslo", "n": 1.0}' } }
    const tools = [{ type: 'function', function: { name: 'get' } }]
    const file = await fileOf([
      { id: 'a', tools, messages: [asks, { role: 'assistant', content: null, tool_calls: [call], name: null }] },
      { id: 'b', tools: JSON.stringify(tools), messages: [asks, { ...says, reasoning: 'hm' }] },
      { id: 'c', messages: [{ role: 'user', content: [{ type: 'text', text: 'h' }, 'i'] }, says] },
      { id: 'd', conversations: [{ from: 'function_call', value: '{"name": "get", "arguments": {}}' }] },
    ])
    const parsed = { ...call, function: { name: 'get', arguments: { city: 'Oslo', n: 1 } } }
    expect(await read(file)).toEqual([
      ['run:a', { tools, messages: [asks, { role: 'assistant', content: '', tool_calls: [parsed] }] }],
      ['run:b', { tools, messages: [asks, { ...says, reasoning_content: 'hm', thinking: 'hm' }] }],
      ['run:c', { messages }],
      [
        'run:d',
        {
          messages: [
            {
              role: 'assistant',
              content: '',
              tool_calls: [{ type: 'function', function: { name: 'get', arguments: {} } }],
            },
          ],
        },
      ],
    ])
    for await (const item of readConversations([file], { runId: run, limit: 1, part: null }))
      expect(item).toMatchObject({ json: expect.stringContaining('"n":1.0') })
  })

  it('get an id of their content where they bring none that can be used, and lines that come or go do not change it', async () => {
    const odd = [{ messages }, { id: '../x', messages: [asks] }, { id: '', messages: [says] }, { id: null, messages }]
    const ids = (await read(await fileOf(odd))).map((item) => (item as [string])[0])
    const made = expect.stringMatching(/^run:x-[0-9a-f]{24}$/)
    expect(ids).toEqual([made, made, made, expect.stringMatching(/^run:x-[0-9a-f]{24}-2$/)])
    const later = (await read(await fileOf(odd.slice(1, 3)))).map((item) => (item as [string])[0])
    expect(later).toEqual(ids.slice(1, 3))
  })

  it('with the id of another one, or with one that could be made, are samples of their own', async () => {
    const first = (await read(await fileOf([{ messages }])))[0] as [string]
    const made = first[0].slice('run:'.length)
    const file = await fileOf([
      { id: 'a', messages },
      { id: 'a', messages: [says] },
      { id: made, messages: [asks] },
      { messages },
    ])
    const ids = (await read(file)).map((item) => (item as [string])[0])
    expect(new Set(ids).size).toBe(4)
    expect(ids[0]).toBe('run:a')
    expect(ids[2]).not.toBe(first[0])
    expect(ids[3]).toBe(first[0])
  })

  it('keep all digits of an id', async () => {
    const file = await fileOf(`{"id": 9007199254740993, "messages": ${JSON.stringify(messages)}}`)
    expect(await read(file)).toEqual([['run:9007199254740993', { messages }]])
  })

  it('are no more than the limit, and lines beyond it are not read', async () => {
    const file = await fileOf(
      `${JSON.stringify({ id: 'a', messages })}\n${JSON.stringify({ id: 'b', messages })}\nnot JSON`,
    )
    expect(await read(file, 2)).toHaveLength(2)
    expect((await surveyConversations([file], { ...whole, limit: 2 }, () => undefined)).total).toBe(2)
  })

  it('have a sum that follows their content and not the form of the file', async () => {
    const files = await Promise.all([
      fileOf([{ id: 'a', messages }]),
      fileOf([{ messages, id: 'a', extra: 1 }], 'talks.jsonl.gz'),
      fileOf([{ id: 'b', messages }]),
    ])
    const sums = await Promise.all(files.map((file) => surveyConversations([file], whole, () => undefined)))
    expect(sums[0]).toEqual(sums[1])
    expect(sums[2]).not.toEqual(sums[0])
  })

  it('keep a separator of lines inside of a string', async () => {
    const odd = [{ role: 'user', content: 'a\u2028b\u0085c\rd' }]
    expect(await read(await fileOf([{ id: 'a', messages: odd }]))).toEqual([['run:a', { messages: odd }]])
  })
})

describe('a line that is no conversation is refused with file, line, field and reason', () => {
  it.each([
    ['no JSON', '{"messages":', '(the whole line): Unexpected end of JSON input'],
    ['a word', '"hi"', '(the whole line): string'],
    ['an empty list', '[]', 'messages: Too small: expected array to have >=1 items'],
    [
      'another form',
      '{"text": "hi"}',
      'messages: none of messages, conversations, conversation and input_ids; the keys are text',
    ],
    [
      'a message without text',
      '{"messages": [{"role": "user"}]}',
      'messages[0].content: nothing, where a text should be',
    ],
    [
      'a picture',
      '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
      'messages[0].content: a part of the type "image_url", where a text or a list of text parts should be',
    ],
    [
      'an unknown speaker',
      '{"conversations": [{"from": "narrator", "value": "x"}]}',
      'conversations[0].from: "narrator", which is no role of a conversation',
    ],
    [
      'a call that is no JSON',
      '{"conversations": [{"from": "function_call", "value": "get()"}]}',
      'conversations[0].value: a function call that is no JSON with a name',
    ],
    ['a negative token', '{"input_ids": [-1], "loss_start": 0}', 'input_ids[0]: Too small: expected number to be >=0'],
    [
      'half a character',
      '{"messages": [{"role": "user", "content": "x \\ud83d"}]}',
      'messages[0].content: half a character (a lone surrogate), or bytes that are no UTF-8',
    ],
  ])('%s', async (_, line, found) => {
    const good = JSON.stringify({ id: 'a', messages })
    expect(await read(await fileOf(`${good}\n${line}\n${good}`))).toEqual([
      ['run:a', { messages }],
      `talks.jsonl:2 ${found}`,
      [expect.stringMatching(/^run:x-/), { messages }],
    ])
  })

  it('bytes that are no UTF-8', async () => {
    const bytes = Buffer.concat([Buffer.from('{"id": "caf'), Buffer.from([0xe9]), Buffer.from('"}')])
    expect(await read(await fileOf(bytes))).toEqual([
      'talks.jsonl:1 (the whole line): bytes that are no UTF-8, the first 0xe9 at byte 12 of the line',
    ])
  })
})

describe('a file is refused', () => {
  it.each([
    ['that is cut off', gzipSync(JSON.stringify({ messages })).subarray(0, 20), 'unexpected end of file'],
    ['that ends inside of an array', '[\n{"messages": [', 'the end of the file inside of an array or an object'],
  ])('%s', async (_, content, found) => {
    await expect(read(await fileOf(content, 'talks.json'))).rejects.toMatchObject({
      code: 'FEATURE_INVALID',
      details: { found },
    })
  })

  it('that is not there, or holds nothing', async () => {
    await expect(read('/nowhere/talks.jsonl')).rejects.toMatchObject({ code: 'FEATURE_INVALID' })
    const survey = surveyConversations([await fileOf('\n')], whole, () => undefined)
    await expect(survey).rejects.toThrow('found: no conversation')
  })
})
