import { z } from 'zod'
import { finding } from '../../core/errors.ts'
import { linesOfFile } from '../conversations/lines-of-file.ts'

const TokenId = z.number().int().nonnegative()
const Id = z.string().min(1)
const TokensLine = z
  .looseObject({ id: Id, input_ids: z.array(TokenId).min(1), loss_start: z.number().int().positive() })
  .refine((line) => line.loss_start <= line.input_ids.length, {
    path: ['loss_start'],
    error: 'beyond the end of input_ids',
  })
const TextLine = z.looseObject({ id: Id, prompt: z.string().min(1) })

/** One question to the target: tokens, or text that still has to go through the chat template. */
export interface EvalPrompt {
  readonly id: string
  readonly content: { readonly inputIds: readonly number[] } | { readonly text: string }
  /** `file:line`, for messages. */
  readonly where: string
}

const FIX = 'give each line an `id` and either `prompt` (text) or `input_ids` with `loss_start`'

/** The first `limit` prompts of a `.jsonl` or `.jsonl.gz` file. Lines beyond them are not read. */
export async function readEvalPrompts(file: string, limit: number | null): Promise<EvalPrompt[]> {
  const prompts: EvalPrompt[] = []
  const seen = new Set<string>()
  for await (const line of linesOfFile(file, 'eval.prompts', 'CONFIG_INVALID')) {
    const where = `${file}:${line.number}`
    if ('bad' in line) throw invalid(where, '(the whole line)', line.bad, FIX)
    const prompt = parseEvalPrompt(line.text, where)
    if (seen.has(prompt.id)) throw invalid(prompt.where, 'id', `${prompt.id}, a second time`, 'make the ids unique')
    seen.add(prompt.id)
    prompts.push(prompt)
    if (prompts.length === limit) break
  }
  if (prompts.length === 0) throw invalid(file, 'eval.prompts', 'no line with a prompt', FIX)
  return prompts
}

/** Where a line has both forms the tokens win: they are what the target really saw. */
export function parseEvalPrompt(text: string, where: string): EvalPrompt {
  const line = parseJson(text, where)
  const tokens = typeof line === 'object' && line !== null && 'input_ids' in line
  const parsed = (tokens ? TokensLine : TextLine).safeParse(line)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(where, issue?.path.join('.') || '(the whole line)', issue?.message ?? 'not a prompt', FIX)
  }
  const { data } = parsed
  if ('loss_start' in data && 'input_ids' in data) {
    const { input_ids, loss_start } = data as z.output<typeof TokensLine>
    return { id: data.id, content: { inputIds: input_ids.slice(0, loss_start) }, where }
  }
  return { id: data.id, content: { text: (data as z.output<typeof TextLine>).prompt }, where }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw invalid(where, '(the whole line)', cause instanceof Error ? cause.message : String(cause), FIX, cause)
  }
}

function invalid(file: string, field: string, found: string, fix: string, cause?: unknown) {
  return finding('CONFIG_INVALID', 'the evaluation prompts cannot be used', { file, field, found, fix }, { cause })
}
