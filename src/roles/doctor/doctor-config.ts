import { lazyPython } from '../../bridge/lazy-python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import type { RunId } from '../../core/ids.ts'
import { STORE_KEY_ENV } from '../../core/store-key-env.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { bytes, count, plural } from '../../report/words.ts'
import { tryStoreAuth } from '../../store/open-for-maintenance.ts'

import { readEvalPrompts } from '../evaluate/eval-prompts.ts'
import { readConversations } from '../produce/conversation-file.ts'
import { findFeatureFiles } from '../produce/feature-files.ts'
import { readDraftConfig } from '../train/draft-config-file.ts'
import { type Check, type CheckSpec, checked, readable } from './doctor-check.ts'

const FIX = {
  'target.model': 'set it to a model folder or a .gguf file',
  'target.tokenizer': 'set it to the folder of a tokenizer, or leave it out to use the tokenizer of the model',
  'data.conversations': 'set it to a .jsonl or .jsonl.gz file of conversations',
  'features.files': 'set it to a folder or a pattern such as "features/**/*.ckpt*"',
  'draft.config': 'set it to a draft config.json, or to auto',
  'eval.prompts': 'set it to a .jsonl or .jsonl.gz file of held-out prompts',
  'store.auth': `name the key file in store.auth.keyFile, or set ${STORE_KEY_ENV}`,
} as const
const specOf = (id: keyof typeof FIX): CheckSpec => ({ id, fix: FIX[id] })

/** Checks the input files that a config names, and the key of its store. Outputs of a run may be missing. */
export async function checkConfig(config: RunConfig): Promise<readonly Check[]> {
  const { target, draft, store } = config
  const checks = [await readable(specOf('target.model'), target.model)]
  if (target.tokenizer !== null) checks.push(await readable(specOf('target.tokenizer'), target.tokenizer))
  checks.push(await producerInput(config))
  if (draft.config !== 'auto') checks.push(await draftConfig(draft.config, draft.architecture))
  if (config.eval.prompts !== null) checks.push(await prompts(config.eval.prompts))
  if (traitsOf(store).directory) checks.push(...(await storeKey(store)))
  return checks
}

/** The input of the producer. Training and evaluation do not need it, so a missing name is only a warning. */
async function producerInput({ features, data, run }: RunConfig): Promise<Check> {
  const spec = specOf(features.source === 'capture' ? 'data.conversations' : 'features.files')
  const input = features.source === 'capture' ? data.conversations : features.files
  if (input === null) {
    const command = features.source === 'capture' ? 'capture' : 'ingest'
    return { ...spec, state: 'warning', reason: `not set: ${command} has no input` }
  }
  if (features.source === 'capture') return firstLine(spec, input, () => firstConversation(input, run.id))
  return checked(spec, async () => {
    const files = await findFeatureFiles(input)
    const size = files.reduce((sum, file) => sum + file.bytes, 0)
    return `${input}: ${plural(files.length, 'file')}, ${bytes(size)}`
  })
}

const prompts = (file: string): Promise<Check> =>
  firstLine(specOf('eval.prompts'), file, async () => void (await readEvalPrompts(file, 1)))

const draftConfig = (file: string, name: string): Promise<Check> =>
  checked(specOf('draft.config'), async () => {
    const { draft_vocab_size: size } = await readDraftConfig(file, architectureOf(name))
    return typeof size === 'number' ? `${file}: a draft with a vocabulary of ${count(size)} tokens` : file
  })

/** Reads only the first line, which shows whether the file has the right format. The run itself checks all lines. */
async function firstLine(spec: CheckSpec, file: string, readFirst: () => Promise<void>): Promise<Check> {
  const found = await readable(spec, file)
  if (found.state !== 'ok') return found
  return checked(spec, async () => {
    await readFirst()
    return file
  })
}

async function firstConversation(file: string, run: RunId): Promise<void> {
  for await (const _ of readConversations(file, run, 1)) return
  throw finding('FEATURE_INVALID', 'the file contains no conversation', { file })
}

/** Python reads the key and reports only whether it opens the store. A store without a key gets no line if all is well. */
async function storeKey({ root, auth }: RunConfig['store']): Promise<readonly Check[]> {
  const check = await checked(specOf('store.auth'), async () => {
    const existing = await tryStoreAuth(lazyPython, root, auth)
    const which = existing ? 'the key of the store' : 'a key for a new store'
    return `${auth.mode}: ${auth.keyFile ?? STORE_KEY_ENV} contains ${which}`
  })
  return auth.mode === 'none' && check.state === 'ok' ? [] : [check]
}
