import { lazyPython } from '../../bridge/lazy-python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { finding } from '../../core/errors.ts'
import type { RunId } from '../../core/ids.ts'
import { STORE_KEY_ENV } from '../../core/store-key-env.ts'
import { bytes, count, plural } from '../../report/words.ts'
import { tryStoreAuth } from '../../store/open-for-care.ts'

import { readEvalPrompts } from '../evaluate/eval-prompts.ts'
import { readConversations } from '../produce/conversation-file.ts'
import { findFeatureFiles } from '../produce/feature-files.ts'
import { readDraftConfig } from '../train/draft-config-file.ts'
import { type Check, checked, readable, type Wanted } from './doctor-check.ts'

const FIX = {
  'target.model': 'set it to a model folder or a .gguf file',
  'target.tokenizer': 'set it to the folder of a tokenizer, or leave it out: then it is that of the model',
  'data.conversations': 'set it to a .jsonl or .jsonl.gz file of conversations',
  'features.files': 'set it to a folder or a pattern such as "features/**/*.ckpt*"',
  'draft.config': 'set it to a draft config.json, or to auto',
  'eval.prompts': 'set it to a .jsonl or .jsonl.gz file of held-out prompts',
  'store.auth': `name the key file in store.auth.keyFile, or set ${STORE_KEY_ENV}`,
} as const
const wanted = (id: keyof typeof FIX): Wanted => ({ id, fix: FIX[id] })

/** The files that a config names, and the key of its store. What a run makes itself may be missing. */
export async function examineConfig(config: RunConfig): Promise<readonly Check[]> {
  const { target, draft, store } = config
  const checks = [await readable(wanted('target.model'), target.model)]
  if (target.tokenizer !== null) checks.push(await readable(wanted('target.tokenizer'), target.tokenizer))
  checks.push(await inputs(config))
  if (draft.config !== 'auto') checks.push(await draftConfig(draft.config))
  if (config.eval.prompts !== null) checks.push(await prompts(config.eval.prompts))
  if (traitsOf(store).directory) checks.push(...(await storeKey(store)))
  return checks
}

/** What a producer makes samples of. Training and evaluation do without, so to name none is no error. */
async function inputs({ features, data, run }: RunConfig): Promise<Check> {
  const about = wanted(features.source === 'capture' ? 'data.conversations' : 'features.files')
  const named = features.source === 'capture' ? data.conversations : features.files
  if (named === null) {
    const command = features.source === 'capture' ? 'capture' : 'ingest'
    return { ...about, state: 'warning', reason: `none: ${command} has nothing to work on` }
  }
  if (features.source === 'capture') return lines(about, named, () => firstConversation(named, run.id))
  return checked(about, async () => {
    const files = await findFeatureFiles(named)
    const size = files.reduce((sum, file) => sum + file.bytes, 0)
    return `${named}: ${plural(files.length, 'file')}, ${bytes(size)}`
  })
}

const prompts = (file: string): Promise<Check> =>
  lines(wanted('eval.prompts'), file, async () => void (await readEvalPrompts(file, 1)))

const draftConfig = (file: string): Promise<Check> =>
  checked(wanted('draft.config'), async () => {
    const { draft_vocab_size: size } = await readDraftConfig(file)
    return `${file}: a draft with ${count(size)} tokens`
  })

/** One line tells whether this is such a file at all; whether all are good is for the run to say, which reads them. */
async function lines(about: Wanted, file: string, readFirst: () => Promise<void>): Promise<Check> {
  const there = await readable(about, file)
  if (there.state !== 'ok') return there
  return checked(about, async () => {
    await readFirst()
    return file
  })
}

async function firstConversation(file: string, run: RunId): Promise<void> {
  for await (const _ of readConversations(file, run, 1)) return
  throw finding('FEATURE_INVALID', 'no line with a conversation', { file })
}

/** Python reads the key and only says whether it can be used. A store without one gets a line when it wants one. */
async function storeKey({ root, auth }: RunConfig['store']): Promise<readonly Check[]> {
  const check = await checked(wanted('store.auth'), async () => {
    const known = await tryStoreAuth(lazyPython(), root, auth)
    return `${auth.mode}: ${auth.keyFile ?? STORE_KEY_ENV} holds ${known ? "the store's key" : 'a key for a new store'}`
  })
  return auth.mode === 'none' && check.state === 'ok' ? [] : [check]
}
