import { isLosslessNumber } from 'lossless-json'
import { z } from 'zod'
import { parseArguments } from './parse-exact.ts'

/** A message as it is given to the chat template. */
export interface Message {
  readonly role: string
  readonly content: string
  readonly [key: string]: unknown
}

/** The names that data sets give to the roles of chat templates. */
const ROLES: Readonly<Record<string, string>> = {
  system: 'system',
  developer: 'developer',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  tool: 'tool',
  observation: 'tool',
  function: 'function',
  ipython: 'ipython',
  function_call: 'assistant',
}

const ROLE_FIX = `name one of these: ${Object.keys(ROLES).join(', ')}`

const Part = z.union([
  z.string(),
  z.looseObject({ type: z.literal('text').optional(), text: z.string() }).transform(({ text }) => text),
])
const Content = z.union([z.string(), z.array(Part).transform((parts) => parts.join(''))], {
  error: ({ input }) => `${shown(input)}, where a text or a list of text parts should be`,
})
const Role = z.string().transform((name, context) => {
  const key = name.toLowerCase()
  const role = Object.hasOwn(ROLES, key) ? ROLES[key] : undefined
  if (role !== undefined) return { name: key, role }
  const message = `${JSON.stringify(name)}, which is no role of a conversation`
  context.addIssue({ code: 'custom', message, params: { fix: ROLE_FIX } })
  return z.NEVER
})
const Arguments = z.union([z.string(), z.record(z.string(), z.unknown())])
const Call = z.looseObject({ name: z.string(), arguments: Arguments.optional() })
const ToolCall = z.union([z.looseObject({ function: Call }), Call.transform((call) => ({ function: call }))])

const Given = z.looseObject({
  role: Role,
  content: Content.optional(),
  tool_calls: z.array(ToolCall).optional(),
  reasoning_content: z.string().optional(),
  reasoning: z.string().optional(),
  thinking: z.string().optional(),
})

/** One message of a file: `role` and `content`, or `from` and `value`; null is the same as absent. */
export const MessageOfFile = z.preprocess(withNames, Given).transform((given, context): Message => {
  const { role: who, content, tool_calls: calls, reasoning_content, reasoning, thinking, ...rest } = given
  const thought = reasoning_content ?? reasoning ?? thinking
  const isCall = who.name === 'function_call'
  const called = isCall ? callOf(content) : calls?.map(withArguments)
  const problem = problemOf(given, isCall && called === undefined)
  if (problem !== null) {
    context.addIssue({ code: 'custom', path: ['content'], message: problem })
    return z.NEVER
  }
  return {
    ...rest,
    role: who.role,
    content: isCall ? '' : (content ?? ''),
    ...(called === undefined || called.length === 0 ? {} : { tool_calls: called }),
    // Templates know the thoughts of a model by one of these names.
    ...(thought === undefined ? {} : { reasoning_content: thought, thinking: thought }),
  }
})

/** Only an assistant says something without a text: a call or a thought. */
function problemOf(given: z.output<typeof Given>, isBadCall: boolean): string | null {
  if (isBadCall) return 'a function call that is no JSON with a name'
  if (given.content !== undefined) return null
  const { role, tool_calls, reasoning_content, reasoning, thinking } = given
  const said = tool_calls ?? reasoning_content ?? reasoning ?? thinking
  return role.role === 'assistant' && said !== undefined ? null : 'nothing, where a text should be'
}

/** Null columns are columns that the row does not have: tables give every message the columns of all. */
function withNames(message: unknown): unknown {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return message
  const { from, value, ...given } = withoutNulls(message)
  return { ...(from === undefined ? {} : { role: from }), ...(value === undefined ? {} : { content: value }), ...given }
}

export function withoutNulls(record: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== null && value !== undefined))
}

type GivenCall = z.output<typeof ToolCall>

/** Arguments as an object, as engines give them to the template; text that is no JSON object stays text. */
function withArguments(call: GivenCall): GivenCall {
  const { arguments: given } = call.function
  if (typeof given !== 'string') return call
  try {
    const value = parseArguments(given)
    if (typeof value !== 'object' || value === null || Array.isArray(value) || isLosslessNumber(value)) return call
    return { ...call, function: { ...call.function, arguments: value as Record<string, unknown> } }
  } catch {
    return call
  }
}

/** A `function_call` turn of a ShareGPT file holds the call as JSON text. */
function callOf(text = ''): GivenCall[] | undefined {
  try {
    const parsed = Call.safeParse(parseArguments(text))
    return parsed.success ? [withArguments({ type: 'function', function: parsed.data })] : undefined
  } catch {
    return undefined
  }
}

export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) {
    const other = value.find((part) => typeof part === 'object' && part !== null && part.type !== 'text')
    return other === undefined ? 'a list' : `a part of the type ${JSON.stringify(other.type ?? null)}`
  }
  return value === null ? 'null' : typeof value
}
