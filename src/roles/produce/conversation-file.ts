import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Conversation } from '../../bridge/ops.ts'
import { type CodedError, finding } from '../../core/errors.ts'
import { type RunId, SampleId } from '../../core/ids.ts'
import { linesOfFile } from '../lines-of-file.ts'

const Id = z.union([z.string(), z.number()]).nullish()
const Messages = z.looseObject({
  id: Id,
  messages: z.array(z.looseObject({ role: z.string(), content: z.string() })).min(1),
})
const ROLES = { system: 'system', human: 'user', user: 'user', gpt: 'assistant', assistant: 'assistant' } as const
const ShareGpt = z.looseObject({
  id: Id,
  conversations: z
    .array(z.looseObject({ from: z.enum(Object.keys(ROLES) as (keyof typeof ROLES)[]), value: z.string() }))
    .min(1),
})
const Tokens = z.looseObject({
  id: Id,
  input_ids: z.array(z.number().int().nonnegative()).min(1),
  loss_start: z.number().int().nonnegative(),
})

export interface NamedConversation {
  readonly sampleId: SampleId
  /** `file:line`, for messages. */
  readonly where: string
  readonly conversation: Conversation
}

const FIELD = 'data.conversations'
const FIX = 'give each line `messages` (role, content), `conversations` (from, value), or `input_ids` and `loss_start`'

/**
 * The first `limit` conversations of a file, in the order of the file. The sample id contains the conversation's
 * id, or the line number if there is no id or it has characters that a sample id cannot have.
 */
export async function* readConversations(
  file: string,
  runId: RunId,
  limit: number | null,
): AsyncGenerator<NamedConversation> {
  const seen = new Map<SampleId, number>()
  for await (const { number, text } of linesOfFile(file, FIELD, 'FEATURE_INVALID')) {
    if (seen.size === limit) return
    const where = `${file}:${number}`
    const { id, ...conversation } = parseConversation(text, where)
    const sampleId = sampleIdFor(runId, id, number)
    const earlier = seen.get(sampleId)
    if (earlier !== undefined) {
      throw invalid(
        where,
        'id',
        `${String(id)}, which is also the id of line ${earlier}`,
        'make the ids unique, or leave them out',
      )
    }
    seen.set(sampleId, number)
    yield { sampleId, where, conversation: { ...conversation, id: sampleId } }
  }
}

/**
 * Counts the conversations and computes a SHA-256 digest of them. A resumed run compares the digest, to detect changed
 * inputs. All lines are parsed, so that an invalid line fails the run before the first capture.
 */
export async function surveyConversations(
  file: string,
  runId: RunId,
  limit: number | null,
): Promise<{ readonly total: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  let total = 0
  for await (const { sampleId, conversation } of readConversations(file, runId, limit)) {
    hash.update(`${sampleId} ${JSON.stringify(conversation)}\n`)
    total += 1
  }
  if (total === 0) throw invalid(file, FIELD, 'no line with a conversation', FIX)
  return { total, sha256: hash.digest('hex') }
}

type Parsed = { readonly id: unknown } & (
  | { readonly messages: { role: string; content: string }[] }
  | { readonly input_ids: number[]; readonly loss_start: number }
)

/** If a line has several forms, `input_ids` is used: those are the tokens that the target was run on. */
export function parseConversation(text: string, where: string): Parsed {
  const line = parseJson(text, where)
  if ('input_ids' in line) {
    const { id, input_ids, loss_start } = checked(Tokens, line, where)
    return { id, input_ids, loss_start }
  }
  if ('conversations' in line) {
    const { id, conversations } = checked(ShareGpt, line, where)
    return { id, messages: conversations.map(({ from, value }) => ({ role: ROLES[from], content: value })) }
  }
  const { id, messages } = checked(Messages, line, where)
  return { id, messages: messages.map(({ role, content }) => ({ role, content })) }
}

function sampleIdFor(runId: RunId, id: unknown, line: number): SampleId {
  const named = SampleId.safeParse(`${runId}:${String(id)}`)
  const byLine = `${runId}:line-${String(line).padStart(8, '0')}`
  return id !== undefined && id !== null && id !== '' && named.success ? named.data : SampleId.parse(byLine)
}

function parseJson(text: string, where: string): object {
  let line: unknown
  try {
    line = JSON.parse(text)
  } catch (cause) {
    throw invalid(where, '(the whole line)', cause instanceof Error ? cause.message : String(cause), FIX)
  }
  if (typeof line === 'object' && line !== null && !Array.isArray(line)) return line
  throw invalid(where, '(the whole line)', Array.isArray(line) ? 'an array' : typeof line, FIX)
}

function checked<T extends z.ZodType>(schema: T, line: object, where: string): z.output<T> {
  const parsed = schema.safeParse(line)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw invalid(where, issue?.path.map(String).join('.') || '(the whole line)', issue?.message ?? 'another value', FIX)
}

const invalid = (file: string, field: string, found: string, fix: string): CodedError =>
  finding('FEATURE_INVALID', 'this line is not a conversation that can be captured', { file, field, found, fix })
