import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { RunId } from '../../../src/core/ids.ts'
import { readConversations, surveyConversations } from '../../../src/roles/produce/conversation-file.ts'
import { tempDir } from '../../support/temp-dir.ts'

const run = RunId.parse('run')

async function fileOf(lines: readonly unknown[], name = 'talks.jsonl'): Promise<string> {
  const file = path.join(await tempDir(), name)
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  await writeFile(file, name.endsWith('.gz') ? gzipSync(text) : text)
  return file
}

async function read(file: string, limit: number | null = null) {
  const all = []
  for await (const conversation of readConversations(file, run, limit)) all.push(conversation)
  return all
}

const messages = [{ role: 'user', content: 'hi' }]

describe('conversations', () => {
  it.each(['talks.jsonl', 'talks.jsonl.gz'])('are read in all three forms from %s', async (name) => {
    const file = await fileOf(
      [
        { id: 'one', messages: [{ role: 'user', content: 'hi', name: 'Ann' }], source: 'x' },
        '',
        {
          id: 7,
          conversations: [
            { from: 'human', value: 'q' },
            { from: 'gpt', value: 'a' },
          ],
        },
        { id: 'three', input_ids: [1, 2, 3], loss_start: 2, prompt: 'p', finished: true },
      ],
      name,
    )
    expect(await read(file)).toEqual([
      { sampleId: 'run:one', where: `${file}:1`, conversation: { id: 'run:one', messages } },
      {
        sampleId: 'run:7',
        where: `${file}:3`,
        conversation: {
          id: 'run:7',
          messages: [
            { role: 'user', content: 'q' },
            { role: 'assistant', content: 'a' },
          ],
        },
      },
      {
        sampleId: 'run:three',
        where: `${file}:4`,
        conversation: { id: 'run:three', input_ids: [1, 2, 3], loss_start: 2 },
      },
    ])
  })

  it('are named after their line when their id cannot name a file', async () => {
    const file = await fileOf([{ messages }, { id: '../x', messages }, { id: '', messages }, { id: null, messages }])
    const ids = (await read(file)).map(({ sampleId }) => sampleId)
    expect(ids).toEqual(['run:line-00000001', 'run:line-00000002', 'run:line-00000003', 'run:line-00000004'])
  })

  it('are no more than the limit, and lines beyond it are not read', async () => {
    const file = await fileOf([{ id: 'a', messages }, { id: 'b', messages }, 'not JSON'])
    expect(await read(file, 2)).toHaveLength(2)
    expect((await surveyConversations(file, run, 2)).total).toBe(2)
  })

  it('have a sum that follows their content and not the form of the file', async () => {
    const [plain, packed, other] = await Promise.all([
      fileOf([{ id: 'a', messages }]),
      fileOf([{ messages, id: 'a', extra: 1 }], 'talks.jsonl.gz'),
      fileOf([{ id: 'b', messages }]),
    ])
    const sums = await Promise.all([plain, packed, other].map((file) => surveyConversations(file, run, null)))
    expect(sums[0]).toEqual(sums[1])
    expect(sums[2]).not.toEqual(sums[0])
  })

  it.each([
    ['no JSON', '{"messages":', '(the whole line)'],
    ['a list', '[]', '(the whole line)'],
    ['another form', { text: 'hi' }, 'messages'],
    ['no messages', { messages: [] }, 'messages'],
    ['a message without text', { messages: [{ role: 'user' }] }, 'messages.0.content'],
    ['an unknown speaker', { conversations: [{ from: 'tool', value: 'x' }] }, 'conversations.0.from'],
    ['a negative token', { input_ids: [-1], loss_start: 0 }, 'input_ids.0'],
    ['tokens without a start', { input_ids: [1] }, 'loss_start'],
    ['an id a second time', { id: 'first', messages }, 'id'],
  ])('%s in a line: refused, with file, line and field', async (_, line, field) => {
    const file = await fileOf([{ id: 'first', messages }, line])
    await expect(read(file)).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { file: `${file}:2`, field } })
  })

  it('that cannot be read, or are not there, are an error', async () => {
    const cut = path.join(await tempDir(), 'cut.jsonl.gz')
    await writeFile(cut, gzipSync(JSON.stringify({ messages })).subarray(0, 20))
    await expect(read(cut)).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { file: cut } })
    await expect(read('/nowhere/talks.jsonl')).rejects.toMatchObject({ code: 'FEATURE_INVALID' })
    await expect(surveyConversations(await fileOf(['']), run, null)).rejects.toThrow('no line with a conversation')
  })
})
