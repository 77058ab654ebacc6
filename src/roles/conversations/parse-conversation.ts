import { isLosslessNumber } from 'lossless-json'
import { z } from 'zod'
import { MessageOfFile, shown, withoutNulls } from './message.ts'
import { parseExact, stringifyExact } from './parse-exact.ts'

/** A conversation without its id, as JSON text: `{ messages, tools? }` or `{ input_ids, loss_start }`. */
export interface ParsedConversation {
  readonly id: string | null
  readonly json: string
}

/** Why a record is no conversation. `field`: a path into it. */
export interface NoConversation {
  readonly field: string
  readonly found: string
  /** What mends this kind of problem, where more is known than which forms there are. */
  readonly fix?: string
}

const WHOLE = '(the whole line)'

const Id = z
  .unknown()
  .transform((id) => (isLosslessNumber(id) ? id.toString() : id))
  .pipe(z.union([z.string(), z.number()]).optional())
  .transform((id) => (id === undefined || id === '' ? null : String(id)))
const Tools = z.union([z.array(z.looseObject({})), z.string().transform(toolsOf)])
const Talk = z.looseObject({ messages: z.array(MessageOfFile).min(1), tools: Tools.optional() })
const Tokens = z.looseObject({
  input_ids: z.array(z.number().int().nonnegative()).min(1),
  loss_start: z.number().int().nonnegative(),
})
const NAMES = ['messages', 'conversations', 'conversation'] as const

/**
 * A conversation from a record of a file. If a record has several forms, `input_ids` is used: those are the tokens that the
 * target was run on.
 */
export function parseConversation(record: unknown): ParsedConversation | NoConversation {
  // A list is a conversation without anything beside its messages.
  const given = Array.isArray(record) ? { messages: record as unknown[] } : record
  if (typeof given !== 'object' || given === null) return { field: WHOLE, found: shown(record) }
  const fields = withoutNulls(given)
  const id = Id.safeParse(fields['id'])
  if (!id.success) return { field: 'id', found: shown(fields['id']) }
  const content = 'input_ids' in fields ? tokens(fields) : talk(fields)
  if ('found' in content) return content
  const unfit = unfitValue(content.parsed)
  if (unfit !== null) return unfit
  const json = stringifyExact(content.parsed)
  if (json.length <= MAX_CHARACTERS) return { id: id.data, json }
  return { field: WHOLE, found: `a conversation of ${json.length} characters, where ${MAX_CHARACTERS} are the most` }
}

type Fields = Readonly<Record<string, unknown>>
interface Content {
  readonly parsed: Fields
}

function tokens(fields: Fields): Content | NoConversation {
  const parsed = Tokens.safeParse(fields)
  if (!parsed.success) return problemOf(parsed.error, '')
  return { parsed: { input_ids: parsed.data.input_ids, loss_start: parsed.data.loss_start } }
}

function talk(fields: Fields): Content | NoConversation {
  const name = NAMES.find((each) => each in fields)
  if (name === undefined) {
    const keys = Object.keys(fields).slice(0, 8).join(', ')
    return { field: 'messages', found: `none of ${NAMES.join(', ')} and input_ids; the keys are ${keys || 'none'}` }
  }
  const parsed = Talk.safeParse({ ...fields, messages: fields[name] })
  if (!parsed.success) return problemOf(parsed.error, name, fields[name])
  const { messages, tools } = parsed.data
  const { system } = fields
  // Beside `conversations` the instructions may stand in a column of their own.
  const isFirst = typeof system === 'string' && system !== '' && messages[0]?.role !== 'system'
  const all = isFirst ? [{ role: 'system', content: system }, ...messages] : messages
  return { parsed: { messages: all, ...(tools === undefined || tools.length === 0 ? {} : { tools }) } }
}

function toolsOf(text: string, context: z.RefinementCtx): Fields[] {
  if (text.trim() === '') return []
  try {
    return z.array(z.looseObject({})).parse(parseExact(text))
  } catch {
    context.addIssue({ code: 'custom', message: 'a text that is no JSON list of tools' })
    return z.NEVER
  }
}

const WRITTEN: ReadonlyMap<PropertyKey, string> = new Map([
  ['role', 'from'],
  ['content', 'value'],
])

/** The path of a field of a message, with the name that the field has in the file. */
function asWritten(path: readonly PropertyKey[], messages: unknown): readonly PropertyKey[] {
  const [list, index, key = '', ...rest] = path
  const other = WRITTEN.get(key)
  const message: unknown = Array.isArray(messages) && typeof index === 'number' ? messages[index] : null
  if (list === undefined || index === undefined || other === undefined) return path
  if (typeof message !== 'object' || message === null || key in message) return path
  return 'from' in message || 'value' in message ? [list, index, other, ...rest] : path
}

const fieldText = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => (/^\d+$/.test(String(part)) ? `[${String(part)}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '')

function problemOf(error: z.ZodError, name: string, messages?: unknown): NoConversation {
  const issue = error.issues[0]
  const [first, ...rest] = asWritten(issue?.path ?? [], messages)
  const path = first === undefined ? [] : [first === 'messages' && name !== '' ? name : first, ...rest]
  const fix = issue?.code === 'custom' && typeof issue.params?.['fix'] === 'string' ? { fix: issue.params['fix'] } : {}
  return { field: fieldText(path) || WHOLE, found: issue?.message ?? 'another value', ...fix }
}

/** The first value that Python or a tokenizer does not take. */
function unfitValue(value: unknown, path: readonly string[] = []): NoConversation | null {
  if (typeof value === 'string') return isWellFormed(value) ? null : { field: fieldText(path), found: HALF }
  if (typeof value !== 'object' || value === null) return null
  if (isLosslessNumber(value)) return longNumber(value.toString(), path)
  if (path.length === MAX_DEPTH) return { field: fieldText(path.slice(0, 8)), found: `more than ${MAX_DEPTH} levels` }
  for (const [key, each] of Object.entries(value)) {
    if (!isWellFormed(key)) return { field: fieldText([...path, '(a key)']), found: HALF }
    const found = unfitValue(each, [...path, key])
    if (found !== null) return found
  }
  return null
}

function longNumber(digits: string, path: readonly string[]): NoConversation | null {
  if (digits.length <= MAX_DIGITS) return null
  return { field: fieldText(path), found: `a number of ${digits.length} digits, where ${MAX_DIGITS} are the most` }
}

const HALF = 'half a character (a lone surrogate), or bytes that are no UTF-8'
/** Far beyond what any target reads: a tokenizer would work on more for hours. */
const MAX_CHARACTERS = 8_000_000
/** Python's JSON reader ends at about a thousand levels. */
const MAX_DEPTH = 200
const MAX_DIGITS = 1000

const LONE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/
const isWellFormed = (text: string): boolean => !LONE.test(text)
