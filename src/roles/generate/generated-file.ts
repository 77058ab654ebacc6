import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, truncate } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { finding, isErrno } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { claimFolder, type FolderClaim } from '../../core/liveness/folder-claim.ts'
import { linesOfFile } from '../conversations/lines-of-file.ts'
import { type LeftOut, leftOuts } from './answer-filter.ts'

const Line = z.looseObject({
  id: z.string(),
  messages: z.array(z.unknown()).optional(),
  why: z.enum(leftOuts).optional(),
})

/** What the answers depend on. A file is continued with the same settings only. */
export type GenerateInputs = Readonly<Record<string, string | number | null>>

/**
 * The file of conversations that is written, `<out>`, and beside it `<out>.left-out.jsonl` with the conversations that are
 * in none, and `<out>.settings.json`. Whoever holds it is its only writer. Lines are whole on disk after each `flush`.
 */
export class GeneratedFile implements AsyncDisposable {
  /** Conversations of an earlier start. */
  readonly written: ReadonlySet<string>
  readonly leftOut: ReadonlyMap<string, LeftOut>
  readonly #parts: Parts
  readonly #contents: Set<string>

  private constructor(parts: Parts, earlier: Earlier) {
    this.#parts = parts
    this.written = earlier.written
    this.leftOut = earlier.leftOut
    this.#contents = earlier.contents
  }

  /** @throws STORE_BUSY while another process writes it, CONFIG_INVALID when it was begun with other settings. */
  static async open(file: string, inputs: GenerateInputs): Promise<GeneratedFile> {
    await makeFolder(path.dirname(file), 'generate.out')
    const claim = await claimFolder(path.dirname(file), `writes-${path.basename(file)}`)
    try {
      await expectSettings(file, inputs)
      const aside = `${file}.left-out.jsonl`
      for (const each of [file, aside]) await cutTornLine(each)
      const earlier = await read(file, aside)
      return new GeneratedFile({ claim, out: await open(file, 'a'), left: await open(aside, 'a') }, earlier)
    } catch (error) {
      await claim[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using _claim = this.#parts.claim
    await using _out = this.#parts.out
    await using _left = this.#parts.left
  }

  /** False when a conversation of the same messages is in the file: then it is not written. */
  async write(id: string, conversation: string, generated: Readonly<Record<string, unknown>>): Promise<boolean> {
    const parsed = JSON.parse(conversation) as { messages: unknown }
    const content = contentOf(parsed.messages)
    if (this.#contents.has(content)) return false
    this.#contents.add(content)
    // The conversation stays as Python wrote it: numbers would lose digits here.
    const about = JSON.stringify({ id, generated }).slice(1, -1)
    await this.#parts.out.appendFile(`{${about}, ${conversation.slice(1)}\n`)
    return true
  }

  async leaveOut(id: string, why: LeftOut, where: string, text: string): Promise<void> {
    await this.#parts.left.appendFile(`${ascii({ id, why, where, text })}\n`)
  }

  /** What was written is on disk afterwards. */
  async flush(): Promise<void> {
    await Promise.all([this.#parts.out.datasync(), this.#parts.left.datasync()])
  }
}

interface Parts {
  readonly claim: FolderClaim
  readonly out: FileHandle
  readonly left: FileHandle
}

interface Earlier {
  readonly written: Set<string>
  readonly leftOut: Map<string, LeftOut>
  readonly contents: Set<string>
}

async function read(file: string, aside: string): Promise<Earlier> {
  const earlier: Earlier = { written: new Set(), leftOut: new Map(), contents: new Set() }
  for await (const { id, messages } of records(file)) {
    earlier.written.add(id)
    earlier.contents.add(contentOf(messages))
  }
  for await (const { id, why = 'round-trip' } of records(aside)) earlier.leftOut.set(id, why)
  return earlier
}

async function* records(file: string): AsyncGenerator<z.output<typeof Line>> {
  if ((await sizeOf(file)) === 0) return
  for await (const line of linesOfFile(file, 'generate.out', 'CONFIG_INVALID')) {
    const parsed = Line.safeParse('text' in line ? jsonOrNull(line.text) : null)
    if (!parsed.success) throw notOurs(`${file}:${line.number}`)
    yield parsed.data
  }
}

async function expectSettings(file: string, inputs: GenerateInputs): Promise<void> {
  const settings = `${file}.settings.json`
  const before = z.record(z.string(), z.unknown()).safeParse(jsonOrNull(await readFile(settings, 'utf8').catch(absent)))
  if (!before.success) {
    if ((await sizeOf(file)) > 0) throw other(file, 'conversations, but no settings that they were written with')
    await replaceFile(settings, `${ascii(inputs)}\n`)
    return
  }
  const changed = Object.keys({ ...inputs, ...before.data }).find((name) => inputs[name] !== before.data[name])
  if (changed !== undefined) {
    throw other(
      settings,
      `${changed} was ${JSON.stringify(before.data[changed])} and is ${JSON.stringify(inputs[changed])}`,
    )
  }
}

const notOurs = (file: string) =>
  finding('CONFIG_INVALID', 'this is not a file that generate has written', {
    field: 'generate.out',
    file,
    found: 'a line that is no JSON object with an id',
    fix: 'remove the line, or name another file in generate.out',
  })

const other = (file: string, found: string) =>
  finding('CONFIG_INVALID', 'the file was begun with other settings', {
    field: 'generate.out',
    file,
    found,
    fix: 'name another file in generate.out, or set the settings as they were',
  })

/** A process that was killed may leave a line without its end. */
async function cutTornLine(file: string): Promise<void> {
  await using handle = await opened(file)
  if (handle === null) return
  const { size } = await handle.stat()
  const block = Buffer.alloc(1 << 16)
  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - block.length)
    const { bytesRead } = await handle.read(block, 0, end - begin, begin)
    const at = block.subarray(0, bytesRead).lastIndexOf(10)
    if (at >= 0) {
      if (begin + at + 1 < size) await truncate(file, begin + at + 1)
      return
    }
    end = begin
  }
  if (size > 0) await truncate(file, 0)
}

async function sizeOf(file: string): Promise<number> {
  await using handle = await opened(file)
  return handle === null ? 0 : (await handle.stat()).size
}

const opened = (file: string): Promise<FileHandle | null> =>
  open(file, 'r').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  })

function contentOf(messages: unknown): string {
  return createHash('sha256').update(JSON.stringify(messages)).digest('base64')
}

const ascii = (value: unknown): string =>
  JSON.stringify(value).replace(/[\u0080-\uffff]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)

const absent = (error: unknown): string => {
  if (isErrno(error, 'ENOENT')) return ''
  throw error
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
