import path from 'node:path'
import type { OpOutput } from '../../bridge/ops.ts'
import { embedPython } from '../../bridge/python.ts'
import { Owned } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import { monotonic } from '../../core/liveness/monotonic.ts'
import { type Part, shareOf, takes } from '../../core/part.ts'
import type { RoleContext } from '../context.ts'
import { dataFiles } from '../conversations/data-files.ts'
import { readConversations, surveyConversations } from '../conversations/read-conversations.ts'
import { Refusals } from '../produce/refusals.ts'
import type { GenerateInput } from './generate-input.ts'
import { type GenerateReport, GenerateRun } from './generate-run.ts'
import { GeneratedFile } from './generated-file.ts'

/** Lets the target write the answers of conversations, or whole conversations, into `generate.out`. */
export async function generate(config: RunConfig, part: Part | null, context: RoleContext): Promise<GenerateReport> {
  const out = outOf(config, part)
  const inputs = await inputsOf(config, part)
  const python = await embedPython()
  const began = monotonic.now()
  context.events.emit({ event: 'generate.started', total: inputs.total, ...(part === null ? {} : { part }) })
  const { target, data } = config
  await using _reads = new Owned(python, (await python.call('target.reads', {})).handle)
  const opened = await python.call('generate.open', { target, today: data.today })
  await using session = new Owned(python, opened.handle)
  await using file = await GeneratedFile.open(out, settingsOf(config, opened, inputs.data))
  const { device } = opened
  const { total } = inputs
  const run = new GenerateRun({ config, python, session: session.handle, device, file, out, context, total })
  for await (const item of inputs.items()) {
    throwIfStopped(context.signal, 'generate stopped between two batches; run the same command to go on')
    await run.add(item)
  }
  return await run.finish(() => (monotonic.now() - began) / 1000)
}

interface Inputs {
  readonly total: number
  /** What is written: a digest of the conversations, or how many are made up. */
  readonly data: string
  items(): AsyncIterable<GenerateInput>
}

/** With `--part`, the parts write files of their own. */
function outOf({ generate: { out }, target }: RunConfig, part: Part | null): string {
  if (target.engine !== 'transformers') {
    throw finding('CONFIG_INVALID', 'generate runs the target with transformers only', {
      field: 'target.engine',
      found: target.engine,
      fix: "set target.engine to transformers, or let vLLM's own server answer the prompts and give the file to capture",
    })
  }
  if (out === null) {
    const fix = 'name the file to write in the config, or with --set generate.out=FILE'
    throw finding('CONFIG_INVALID', 'there is no file to write', { field: 'generate.out', found: 'null', fix })
  }
  if (part === null) return out
  const { dir, name, ext } = path.parse(out)
  return path.join(dir, `${name}.part-${part.index}-of-${part.count}${ext}`)
}

async function inputsOf(config: RunConfig, part: Part | null): Promise<Inputs> {
  const { magpie } = config.generate
  if (magpie !== null) {
    const total = shareOf(part, magpie)
    return { total, data: `magpie ${magpie}`, items: () => madeUp(magpie, part) }
  }
  const { data, run } = config
  if (data.conversations === null) {
    throw finding('CONFIG_INVALID', 'there is nothing to write answers to', {
      field: 'data.conversations',
      found: 'null',
      fix: 'name a file of conversations, or set generate.magpie to how many the target shall make up',
    })
  }
  const files = await dataFiles(data.conversations)
  const reading = { runId: run.id, limit: data.limit, part }
  const refusals = new Refusals()
  const { total, sha256 } = await surveyConversations(files, reading, (error) => {
    if (data.onBad === 'stop') throw error
    refusals.add(error)
  })
  refusals.expectFew(total, data.maxBadShare)
  return { total, data: sha256, items: () => given(config, files, part) }
}

async function* given(config: RunConfig, files: readonly string[], part: Part | null): AsyncGenerator<GenerateInput> {
  const { run, data } = config
  for await (const item of readConversations(files, { runId: run.id, limit: data.limit, part })) {
    if (item.kind === 'refused') {
      yield item
      continue
    }
    // Ids that this program makes are those of their content, which is another one in the file that is written.
    const id = item.sampleId.slice(run.id.length + 1).replace(/^x-/, 'g-')
    yield { kind: 'conversation', id, where: item.where, json: item.json }
  }
}

async function* madeUp(count: number, part: Part | null): AsyncGenerator<GenerateInput> {
  for (let index = 0; index < count; index += 1) {
    if (!takes(part, index)) continue
    const id = `m-${String(index).padStart(8, '0')}`
    yield { kind: 'conversation', id, where: id, json: '' }
  }
}

function settingsOf(config: RunConfig, opened: OpOutput<'generate.open'>, data: string) {
  const { maxNewTokens, temperature, topP, seed } = config.generate
  const { targetHash, templateHash, computeDtype } = opened
  const { today } = config.data
  return {
    data,
    targetHash,
    templateHash,
    computeDtype,
    today,
    maxNewTokens,
    temperature,
    topP,
    seed: seed ?? config.run.seed,
  }
}
