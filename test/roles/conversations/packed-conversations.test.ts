import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { RunId } from '../../../src/core/ids.ts'
import { readConversations } from '../../../src/roles/conversations/read-conversations.ts'
import { tempDir } from '../../support/temp-dir.ts'

// Three rows: id (int64), messages (a list of role and content), source (text). The second id has no exact number in
// JavaScript, the third row has no messages. Written by pyarrow, two rows in a group.
const SNAPPY = [
  'UEFSMRUEFSAVJEwVBBUAEgAAEDwBAAAAAAAAAAEAAAAAACAAFQAVEhUWLBUEFRAVBhUGHAAAAAkgAgAAAAQBAQMCFQQVKhUuTBUEFQASAAAVUA',
  'QAAAB1c2VyCQAAAGFzc2lzdGFudBUAFR4VIiwVCBUQFQYVBhwAAAAPOAIAAAADCgIAAAAIBAEDChUEFUgVSEwVCBUAEgAAJBQCAAAAaGkFBmBv',
  'BAAAAGFuZD8MAAAAc28g4oCoIGl0IGlzFQAVIBUkLBUIFRAVBhUGHAAAABA8AgAAAAMKAgAAAAgEAgPkABUEFQAVAkwVABUAEgAAABUAFQ4VEi',
  'wVBBUQFQYVBhwAAAAHGAIAAAAEAAAVBBUQFRRMFQIVABIAAAgcAwAAAAAAAAAVABUSFRYsFQIVEBUGFQYcAAAACSACAAAAAgEBAgAVBBUAFQJM',
  'FQAVABIAAAAVABUaFR4sFQIVEBUGFQYcAAAADTACAAAAAgACAAAAAgAAFQQVABUCTBUAFQASAAAAFQAVGhUeLBUCFRAVBhUGHAAAAA0wAgAAAA',
  'IAAgAAAAIAABUEFQ4VEkwVAhUAEgAABxgDAAAAd2ViFQAVEhUWLBUCFRAVBhUGHAAAAAkgAgAAAAIBAQIAFQQZjDUAGAZzY2hlbWEVBgAVBCUC',
  'GAJpZAA1AhgIbWVzc2FnZXMVAhUGTDwAAAA1BBgEbGlzdBUCADUCGAdlbGVtZW50FQQAFQwlAhgEcm9sZSUATBwAAAAVDCUCGAdjb250ZW50JQ',
  'BMHAAAABUMJQIYBnNvdXJjZSUATBwAAAAWBhksGUwmABwVBBk1AAYQGRgCaWQVAhYEFnQWfCZIJggpLBUEFQAVAgAVABUQFQIAPCkGGSYABAAA',
  'ACYAHBUMGTUABhAZSAhtZXNzYWdlcwRsaXN0B2VsZW1lbnQEcm9sZRUCFggWigEWkgEmzgEmhAEpLBUEFQAVAgAVABUQFQIAPBY0GSYEBBlWAA',
  'AAAAgAAAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50B2NvbnRlbnQVAhYIFqoBFq4BJvoCJpYCKSwVBBUAFQIAFQAVEBUCADwW',
  'KBkmBAQZVgAAAAAIAAAAJgAcFQwZNQAGEBkYBnNvdXJjZRUCFgQWUBZWJuIDJsQDKSwVBBUAFQIAFQAVEBUCADwWABkGGSYEAAAAABb4AxYEJg',
  'gWkgQAGUwmABwVBBk1AAYQGRgCaWQVAhYCFmQWbCbKBCaaBCksFQQVABUCABUAFRAVAgA8KQYZJgACAAAAJgAcFQwZNQAGEBlICG1lc3NhZ2Vz',
  'BGxpc3QHZWxlbWVudARyb2xlFQIWAhZcFmImpAUmhgUpLBUEFQAVAgAVABUQFQIAPBYAGSYCABlWAgAAAAAAAAAmABwVDBk1AAYQGUgIbWVzc2',
  'FnZXMEbGlzdAdlbGVtZW50B2NvbnRlbnQVAhYCFlwWYiaGBiboBSksFQQVABUCABUAFRAVAgA8FgAZJgIAGVYCAAAAAAAAACYAHBUMGTUABhAZ',
  'GAZzb3VyY2UVAhYCFmIWaib4BibKBiksFQQVABUCABUAFRAVAgA8FgYZBhkmAAIAAAAW/gIWAiaaBBaaAwAoIHBhcnF1ZXQtY3BwLWFycm93IH',
  'ZlcnNpb24gMjYuMC4xGUwcAAAcAAAcAAAcAAAAGAMAAFBBUjE=',
].join('')
const ZSTD = [
  'UEFSMRUEFSAVMkwVBBUAEgAAKLUv/SAQgQAAAQAAAAAAAAABAAAAAAAgABUAFRIVJCwVBBUQFQYVBhwAAAAotS/9IAlJAAACAAAABAEBAwIVBB',
  'UqFTxMFQQVABIAACi1L/0gFakAAAQAAAB1c2VyCQAAAGFzc2lzdGFudBUAFR4VMCwVCBUQFQYVBhwAAAAotS/9IA95AAACAAAAAwoCAAAACAQB',
  'AwoVBBVIFVpMFQgVABIAACi1L/0gJCEBAAIAAABoaQIAAABobwQAAABhbmQ/DAAAAHNvIOKAqCBpdCBpcxUAFSAVMiwVCBUQFQYVBhwAAAAotS',
  '/9IBCBAAACAAAAAwoCAAAACAQCA+QAFQQVABUSTBUAFQASAAAotS/9IAABAAAVABUOFSAsFQQVEBUGFQYcAAAAKLUv/SAHOQAAAgAAAAQAABUE',
  'FRAVIkwVAhUAEgAAKLUv/SAIQQAAAwAAAAAAAAAVABUSFSQsFQIVEBUGFQYcAAAAKLUv/SAJSQAAAgAAAAIBAQIAFQQVABUSTBUAFQASAAAotS',
  '/9IAABAAAVABUaFSwsFQIVEBUGFQYcAAAAKLUv/SANaQAAAgAAAAIAAgAAAAIAABUEFQAVEkwVABUAEgAAKLUv/SAAAQAAFQAVGhUsLBUCFRAV',
  'BhUGHAAAACi1L/0gDWkAAAIAAAACAAIAAAACAAAVBBUOFSBMFQIVABIAACi1L/0gBzkAAAMAAAB3ZWIVABUSFSQsFQIVEBUGFQYcAAAAKLUv/S',
  'AJSQAAAgAAAAIBAQIAFQQZjDUAGAZzY2hlbWEVBgAVBCUCGAJpZAA1AhgIbWVzc2FnZXMVAhUGTDwAAAA1BBgEbGlzdBUCADUCGAdlbGVtZW50',
  'FQQAFQwlAhgEcm9sZSUATBwAAAAVDCUCGAdjb250ZW50JQBMHAAAABUMJQIYBnNvdXJjZSUATBwAAAAWBhksGUwmABwVBBk1AAYQGRgCaWQVDB',
  'YEFnQWmAEmViYIKSwVBBUAFQIAFQAVEBUCADwpBhkmAAQAAAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50BHJvbGUVDBYIFooB',
  'Fq4BJvgBJqABKSwVBBUAFQIAFQAVEBUCADwWNBkmBAQZVgAAAAAIAAAAJgAcFQwZNQAGEBlICG1lc3NhZ2VzBGxpc3QHZWxlbWVudAdjb250ZW',
  '50FQwWCBaqARbOASbEAybOAiksFQQVABUCABUAFRAVAgA8FigZJgQEGVYAAAAACAAAACYAHBUMGTUABhAZGAZzb3VyY2UVDBYEFlAWdCbKBCac',
  'BCksFQQVABUCABUAFRAVAgA8FgAZBhkmBAAAAAAW+AMWBCYIFogFABlMJgAcFQQZNQAGEBkYAmlkFQwWAhZkFogBJs4FJpAFKSwVBBUAFQIAFQ',
  'AVEBUCADwpBhkmAAIAAAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50BHJvbGUVDBYCFlwWgAEmxgYmmAYpLBUEFQAVAgAVABUQ',
  'FQIAPBYAGSYCABlWAgAAAAAAAAAmABwVDBk1AAYQGUgIbWVzc2FnZXMEbGlzdAdlbGVtZW50B2NvbnRlbnQVDBYCFlwWgAEmxgcmmAcpLBUEFQ',
  'AVAgAVABUQFQIAPBYAGSYCABlWAgAAAAAAAAAmABwVDBk1AAYQGRgGc291cmNlFQwWAhZiFoYBJtQIJpgIKSwVBBUAFQIAFQAVEBUCADwWBhkG',
  'GSYAAgAAABb+AhYCJpAFFo4EACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZTBwAABwAABwAABwAAAAdAwAAUEFSMQ==',
].join('')
/** The first two rows as JSON lines, each in a frame of its own, as parallel packers write them. */
const LINES = [
  'KLUv/QRoLQIAsoQOEbDrp11vPJJAra9JpoGmCHlKII545ta6Rt2bIR6dp94tdouRZ3jjfk89J9YOReqbzXazeobvU1/QYQIAS6HDZlNQT/WQjy',
  'i1L/0EaJUCALLFERGgb0UT5Szw0UUfIeotJr+FPCCn7A/bwiZDjIuavp3KPvxXHbKbNpV3cTudnZR5B6/ur3dxF2l1fLr4u6f+nfQOvryLN+g4',
  'AgBN9eNoU1B9wLmm',
].join('')

async function packed(name: string, base64: string, bytes?: number): Promise<string> {
  const file = path.join(await tempDir(), name)
  await writeFile(file, Buffer.from(base64, 'base64').subarray(0, bytes))
  return file
}

async function read(file: string): Promise<readonly unknown[]> {
  const all: unknown[] = []
  for await (const item of readConversations([file], { runId: RunId.parse('run'), limit: null, part: null })) {
    if (item.kind === 'conversation') all.push([item.sampleId, JSON.parse(item.json)])
    else all.push([path.basename(item.error.details.file ?? ''), item.error.details.field])
  }
  return all
}

const [asks, says] = [
  { role: 'user', content: 'hi' },
  { role: 'assistant', content: 'ho' },
]
const second = [
  { role: 'user', content: 'and?' },
  { role: 'assistant', content: 'so \u2028 it is' },
]

describe('packed conversations', () => {
  it.each([
    ['snappy', SNAPPY],
    ['zstd', ZSTD],
  ])('in a Parquet file of %s are its rows; an empty column is an absent one', async (codec, base64) => {
    const file = await packed(`rows-${codec}.parquet`, base64)
    expect(await read(file)).toEqual([
      ['run:1', { messages: [asks, says] }],
      ['run:9007199254740993', { messages: second }],
      [`rows-${codec}.parquet:row 3`, 'messages'],
    ])
  })

  it('in a Parquet file that is cut are refused by name', async () => {
    const file = await packed('cut.parquet', SNAPPY, 700)
    await expect(read(file)).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { file } })
  })

  it('in several frames of zstd are all read', async () => {
    expect(await read(await packed('lines.jsonl.zst', LINES))).toEqual([
      ['run:a', { messages: [asks, says] }],
      ['run:b', { messages: second }],
    ])
  })

  it('in a gzip file with zeros and more behind its end are refused by name; zeros alone are none', async () => {
    const [one, two] = [1, 2].map((id) => gzipSync(`${JSON.stringify({ id, messages: [asks, says] })}\n`))
    const zeros = Buffer.alloc(512)
    const file = path.join(await tempDir(), 'lines.jsonl.gz')
    await writeFile(file, Buffer.concat([one ?? zeros, two ?? zeros, zeros]))
    expect(await read(file)).toHaveLength(2)
    await writeFile(file, Buffer.concat([one ?? zeros, zeros, two ?? zeros]))
    await expect(read(file)).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { file } })
  })

  it('in a zstd file that is cut are refused by name', async () => {
    const file = await packed('cut.jsonl.zst', LINES, 150)
    await expect(read(file)).rejects.toMatchObject({ code: 'FEATURE_INVALID', details: { file } })
  })
})
