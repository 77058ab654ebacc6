import type { Python } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import type { Part } from '../../core/part.ts'
import { inputsText } from '../../refs/root/inputs.ts'
import { sha256 } from '../../refs/sha256.ts'
import { dataFiles } from '../conversations/data-files.ts'
import { surveyConversations } from '../conversations/read-conversations.ts'
import { auxLayersOf } from '../train/draft-config-file.ts'
import { CaptureSource } from './capture-source.ts'
import type { SourcePlan } from './feature-source.ts'
import { Refusals } from './refusals.ts'
import { VllmSource } from './vllm-source.ts'

/** The plan to capture features: the target runs on the conversations of `data.conversations`. */
export async function planCapture(config: RunConfig, python: Python, part: Part | null): Promise<SourcePlan> {
  const { target, data, draft } = config
  if (data.conversations === null) {
    throw finding('CONFIG_INVALID', 'there are no conversations to capture', {
      field: 'data.conversations',
      found: 'null',
      fix: 'name a file of conversations, or set features.source to files',
    })
  }
  // A wrong path is told before the data are read, which may take long.
  await python.call('target.identity', { model: target.model, tokenizer: target.tokenizer })
  const files = await dataFiles(data.conversations)
  const { total, sha256: sum } = await survey(config, files, part)
  const { dtype, tokenizer } = target
  const inputs = inputsText({
    'data.conversations': sum,
    'data.maxLength': data.maxLength,
    'target.dtype': dtype,
    ...(data.turns === 'all' ? {} : { 'data.turns': data.turns }),
    ...(data.teacher ? { 'data.teacher': 'stored' } : {}),
    ...engineInputs(target),
    'target.tokenizer': tokenizer === null ? 'of-the-model' : sha256(tokenizer).slice(0, 16),
  })
  const open = async () => {
    await using _reads = new Owned(python, (await python.call('target.reads', {})).handle)
    const { shape } = await python.call('target.describe', { model: target.model })
    const auxLayers = await auxLayersOf(draft, shape)
    if (target.engine === 'vllm') return await VllmSource.open({ config, files, python, part, sha256: sum, auxLayers })
    const opened = await python.call('capture.open', { target, data, draft, auxLayers, threads: 0 })
    const { handle, device, batchTokens, contract } = opened
    const overlap = device !== 'cpu'
    const given = { config, files, python, part, sha256: sum, batchTokens, overlap }
    return new CaptureSource(given, new Owned(python, handle), contract)
  }
  // A sample is current when it has the tokens of its conversation, which its source compares.
  return { inputs, total, isCurrent: () => true, open }
}

/** Files with too many bad lines are refused before the target is loaded. */
async function survey({ run, data }: RunConfig, files: readonly string[], part: Part | null) {
  const refusals = new Refusals()
  const found = await surveyConversations(files, { runId: run.id, limit: data.limit, part }, (error) => {
    if (data.onBad === 'stop') throw error
    refusals.add(error)
  })
  // A part may be a single input. Whether all are bad can only be said of the whole.
  if (part === null && refusals.first !== null && refusals.samples === found.total) throw refusals.first
  refusals.expectFew(found.total, data.maxBadShare)
  return found
}

/** Engine arguments of vLLM that change how fast it computes and where, not what. */
const NEUTRAL =
  /^(tensor_parallel_size|pipeline_parallel_size|gpu_memory_utilization|max_num_batched_tokens|max_num_seqs)$/

/** What decides which numbers the engine gives. A run does not go on with others. */
function engineInputs({ engine, vllm }: RunConfig['target']): Record<string, string> {
  if (engine === 'transformers') return {}
  const args = Object.entries(vllm.args)
    .filter(([name]) => !NEUTRAL.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return { 'target.engine': args.length === 0 ? engine : `${engine} ${sha256(JSON.stringify(args)).slice(0, 16)}` }
}
