import path from 'node:path'
import type { Decoded, OpInput } from '../../bridge/ops.ts'
import { embedPython, type Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding, hasCode } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import type { CheckpointRecord } from '../../train/checkpoints/checkpoint-record.ts'
import type { RoleContext } from '../context.ts'
import { auxLayersFor, draftRecord, requireDraftFor } from './draft-checkpoint.ts'
import { type EvalPrompt, readEvalPrompts } from './eval-prompts.ts'
import { type Answer, buildEvalReport, checkEvalReport, type EvalReport, evalFinished } from './eval-report.ts'

/**
 * Decodes held-out prompts with and without the draft, and reports tau, acceptance, speed, and whether the draft
 * changed a single token. Writes the report to `<run.dir>/eval.json` before it says that something is wrong with it.
 */
export async function evaluate(
  config: RunConfig,
  { draft }: { draft: string },
  context: RoleContext,
): Promise<EvalReport> {
  const { maxNewTokens, dtype } = config.eval
  const { today } = config.data
  const steps = [...new Set(config.eval.steps)]
  const prompts = await promptsOf(config)
  const python = await embedPython()
  const { model } = config.target
  const record = await draftRecord(draft)
  // On the other lane, while the models load.
  const isForTarget = record === null ? Promise.resolve() : requireDraftFor(python, model, draft, record)
  isForTarget.catch(() => undefined)
  await using session = await openModels(python, config, draft, record)
  await isForTarget
  await warmUp(python, session.handle, steps)

  context.events.emit({ event: 'eval.started', prompts: prompts.length, steps })
  const answers: Answer[] = []
  for (const prompt of prompts) {
    throwIfStopped(context.signal, 'evaluation stopped between two prompts; nothing was written')
    answers.push(await answer(python, session.handle, prompt, { maxNewTokens, steps, today }))
    context.events.emit({ event: 'eval.prompt', done: answers.length, total: prompts.length })
  }
  const report = buildEvalReport({ draft, target: model, dtype, maxNewTokens }, steps, answers)
  const file = await save(report, config.run.dir)
  context.events.emit(evalFinished(report))
  checkEvalReport(report, file)
  return report
}

async function openModels(
  python: Python,
  config: RunConfig,
  draftDir: string,
  record: CheckpointRecord | null,
): Promise<Owned> {
  await using _reads = new Owned(python, (await python.call('target.reads', {})).handle)
  const auxLayers = [...(await auxLayersFor(python, config, draftDir, record))]
  const { target, draft, eval: settings } = config
  const { handle } = await python.call('eval.open', { target, draft, eval: settings, draftDir, auxLayers, threads: 0 })
  return new Owned(python, handle)
}

/** The first passes of a process are slow, and the first to be timed is plain decoding: the draft would look fast. */
async function warmUp(python: Python, session: number, steps: readonly number[]): Promise<void> {
  const input = { session, inputIds: [0, 0, 0, 0], maxNewTokens: 8 }
  for (const count of [0, ...steps]) await python.call('eval.decode', { ...input, steps: count })
}

async function promptsOf(config: RunConfig): Promise<EvalPrompt[]> {
  const { prompts, limit } = config.eval
  if (prompts !== null) return readEvalPrompts(prompts, limit)
  throw finding('CONFIG_INVALID', 'there is nothing to evaluate the draft on', {
    field: 'eval.prompts',
    found: 'null',
    fix: 'name a .jsonl file of held-out prompts in the config, or with --set eval.prompts=FILE',
  })
}

async function answer(
  python: Python,
  session: number,
  prompt: EvalPrompt,
  { maxNewTokens, steps, today }: { maxNewTokens: number; steps: readonly number[]; today: string },
): Promise<Answer> {
  try {
    const inputIds = await tokensOf(python, session, prompt, today)
    const decode = (count: number): Promise<Decoded> =>
      python.call('eval.decode', { session, inputIds, maxNewTokens, steps: count })
    const plain = await decode(0)
    const drafted = new Map<number, Decoded>()
    for (const count of steps) drafted.set(count, await decode(count))
    return { id: prompt.id, plain, drafted }
  } catch (error) {
    // Python sees token ids only; the line they came from is known here.
    if (!hasCode(error, 'CONFIG_INVALID', 'FEATURE_INVALID')) throw error
    const details = { ...error.details, file: prompt.where }
    throw finding('CONFIG_INVALID', 'a prompt cannot be decoded', details, { cause: error })
  }
}

async function tokensOf(
  python: Python,
  session: number,
  { content }: EvalPrompt,
  today: string,
): Promise<OpInput<'eval.decode'>['inputIds']> {
  if ('inputIds' in content) return [...content.inputIds]
  const { conversation } = content
  const { inputIds } = await python.call('eval.encode', { session, conversation, today })
  return inputIds
}

async function save(report: EvalReport, dir: string): Promise<string> {
  const file = path.join(dir, 'eval.json')
  await makeFolder(dir, 'run.dir')
  await replaceFile(file, `${JSON.stringify(report)}\n`)
  return file
}
