import { appendFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { RunId } from '../../../src/core/ids.ts'
import {
  readConversations,
  readSurveyed,
  surveyConversations,
} from '../../../src/roles/conversations/read-conversations.ts'
import { tempDir } from '../../support/temp-dir.ts'

const whole = { runId: RunId.parse('run'), limit: null, part: null }

async function fileOf(content: string, name = 'talks.jsonl'): Promise<string> {
  const file = path.join(await tempDir(), name)
  await writeFile(file, content)
  return file
}

/** Ids and content of what was read; of what was refused, its place and reason. */
async function read(file: string): Promise<readonly unknown[]> {
  const all: unknown[] = []
  for await (const item of readConversations([file], whole)) {
    const { file: at = '', field, found } = item.kind === 'refused' ? item.error.details : {}
    if (item.kind === 'refused') all.push(`${path.basename(at)} ${field}: ${found}`)
    else all.push([item.sampleId, JSON.parse(item.json)])
  }
  return all
}

const messages = [
  { role: 'user', content: 'hi' },
  { role: 'assistant', content: 'ho' },
]

describe('one odd line costs one sample:', () => {
  it.each([
    [
      'half a character in a name',
      '{"messages": [{"role": "user", "content": "x", "\\ud83d": 1}]}',
      'messages[0].(a key): half a character (a lone surrogate), or bytes that are no UTF-8',
    ],
    [
      'a speaker with the name of a property',
      '{"messages": [{"role": "constructor", "content": "x"}]}',
      'messages[0].role: "constructor", which is no role of a conversation',
    ],
    [
      'deep nesting',
      `{"messages": [{"role": "user", "content": "x", "more": ${'['.repeat(3000)}${']'.repeat(3000)}}]}`,
      'messages[0].more[0][0][0][0][0]: more than 200 levels',
    ],
    [
      'a number of many digits',
      `{"messages": [{"role": "user", "content": "x", "more": ${'1'.repeat(5000)}}]}`,
      'messages[0].more: a number of 5000 digits, where 1000 are the most',
    ],
    [
      'more text than any target reads',
      `{"messages": [{"role": "user", "content": "${'x'.repeat(8_000_000)}"}]}`,
      '(the whole line): a conversation of 8000043 characters, where 8000000 are the most',
    ],
  ])('%s', async (_, line, found) => {
    const good = JSON.stringify({ id: 'a', messages })
    expect(await read(await fileOf(`${good}\n${line}`))).toEqual([['run:a', { messages }], `talks.jsonl:2 ${found}`])
  })

  it('what stands between the conversations of an array of many lines', async () => {
    const [one, two] = ['a', 'b'].map((id) => JSON.stringify({ id, messages }))
    const lines = ['[', `${one},`, 'null, "a text, with [brackets]",', '12', `, ${two}`, 'garbage', ']', 'more']
    expect(await read(await fileOf(lines.join('\n'), 'talks.json'))).toEqual([
      ['run:a', { messages }],
      expect.stringMatching(/^talks\.json:3 .*: null$/),
      expect.stringMatching(/^talks\.json:3 .*: string$/),
      expect.stringMatching(/^talks\.json:4 .*: number$/),
      ['run:b', { messages }],
      expect.stringMatching(/^talks\.json:6 .*garbage/),
      expect.stringMatching(/^talks\.json:8 .*more/),
    ])
  })

  it('an id that leaves no room for the number of a turn', async () => {
    const line = JSON.stringify({ id: 'L'.repeat(190), messages })
    expect(await read(await fileOf(line))).toEqual([[expect.stringMatching(/^run:x-[0-9a-f]{24}$/), { messages }]])
  })

  it('files that change after their survey end the reading', async () => {
    const file = await fileOf(JSON.stringify({ id: 'a', messages }))
    const { sha256 } = await surveyConversations([file], whole, () => undefined)
    await appendFile(file, `\n${JSON.stringify({ id: 'b', messages })}\n`)
    const ids: string[] = []
    const reads = async () => {
      for await (const item of readSurveyed([file], whole, sha256)) if ('sampleId' in item) ids.push(item.sampleId)
    }
    await expect(reads()).rejects.toMatchObject({ code: 'FEATURE_INVALID' })
    expect(ids).toEqual(['run:a', 'run:b'])
  })
})
