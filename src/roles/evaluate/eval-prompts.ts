import { finding } from '../../core/errors.ts'
import { dataFiles } from '../conversations/data-files.ts'
import { withoutNulls } from '../conversations/message.ts'
import { parseConversation } from '../conversations/parse-conversation.ts'
import { parseExact, stringifyExact } from '../conversations/parse-exact.ts'
import { recordsOfFile } from '../conversations/records-of-file.ts'

/** One question to the target: tokens, or `{ messages, tools? }` as JSON text, up to where the first answer begins. */
export interface EvalPrompt {
  readonly id: string
  readonly content: { readonly inputIds: readonly number[] } | { readonly conversation: string }
  /** `file:line`, for messages. */
  readonly where: string
}

/** Why a record is no prompt. `field`: a path into it. */
interface NoPrompt {
  readonly field: string
  readonly found: string
}

const FIELD = 'eval.prompts'
const FIX = 'give each line `prompt` (text), `messages` or `conversations`, or `input_ids` with `loss_start`'

/**
 * The first `limit` prompts of the files that `named` names, in every form that `data.conversations` may have. Records
 * beyond them are not read.
 */
export async function readEvalPrompts(named: string, limit: number | null): Promise<EvalPrompt[]> {
  const prompts: EvalPrompt[] = []
  const seen = new Set<string>()
  for await (const prompt of promptsOf(await dataFiles(named, FIELD))) {
    if (seen.has(prompt.id)) throw invalid(prompt.where, 'id', `${prompt.id}, a second time`, 'make the ids unique')
    seen.add(prompt.id)
    prompts.push(prompt)
    if (prompts.length === limit) break
  }
  if (prompts.length === 0) throw invalid(named, FIELD, 'no line with a prompt', FIX)
  return prompts
}

async function* promptsOf(files: readonly string[]): AsyncGenerator<EvalPrompt> {
  for (const file of files) {
    for await (const record of recordsOfFile(file, FIELD, 'CONFIG_INVALID')) {
      if ('bad' in record) throw invalid(record.where, '(the whole line)', record.bad, FIX)
      yield parseEvalPrompt(record.value, record.where)
    }
  }
}

/** Where a record has both forms the tokens win: they are what the target really saw. */
export function parseEvalPrompt(record: unknown, where: string): EvalPrompt {
  const parsed = parseConversation(withMessages(record))
  if ('found' in parsed) throw invalid(where, parsed.field, parsed.found, parsed.fix ?? FIX)
  const content = contentOf(parsed.json)
  if ('found' in content) throw invalid(where, content.field, content.found, FIX)
  return { id: parsed.id ?? where, content, where }
}

/** A record with a `prompt` and nothing else that tells its words becomes a conversation of one turn. */
function withMessages(record: unknown): unknown {
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return record
  const { prompt, ...rest } = withoutNulls(record)
  if (typeof prompt !== 'string' || prompt === '' || OTHER_FORMS.some((name) => name in rest)) return record
  return { ...rest, messages: [{ role: 'user', content: prompt }] }
}

const OTHER_FORMS = ['input_ids', 'messages', 'conversations', 'conversation'] as const

/** The part of a conversation that stands before the first answer. */
function contentOf(json: string): EvalPrompt['content'] | NoPrompt {
  const parsed = parseExact(json) as Record<string, unknown>
  if ('input_ids' in parsed) {
    const { input_ids: ids, loss_start: start } = JSON.parse(json) as { input_ids: number[]; loss_start: number }
    if (start > 0 && start <= ids.length) return { inputIds: ids.slice(0, start) }
    return { field: 'loss_start', found: `${start}; the prompt is 1 to ${ids.length} tokens` }
  }
  const messages = parsed['messages'] as readonly { readonly role?: unknown }[]
  const answer = messages.findIndex(({ role }) => role === 'assistant')
  const asked = answer === -1 ? messages : messages.slice(0, answer)
  if (asked.length === 0) return { field: 'messages', found: 'an answer without a question before it' }
  return { conversation: stringifyExact({ ...parsed, messages: asked }) }
}

const invalid = (file: string, field: string, found: string, fix: string) =>
  finding('CONFIG_INVALID', 'the evaluation prompts cannot be used', { file, field, found, fix })
