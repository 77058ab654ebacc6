import { lazyPython } from '../../bridge/lazy-python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { type CodedError, finding } from '../../core/errors.ts'
import { STORE_KEY_ENV } from '../../core/store-key-env.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { bytes, count, plural } from '../../report/words.ts'
import { tryStoreAuth } from '../../store/open-for-maintenance.ts'
import { dataFiles } from '../conversations/data-files.ts'
import { readConversations } from '../conversations/read-conversations.ts'
import { readEvalPrompts } from '../evaluate/eval-prompts.ts'
import { findFeatureFiles } from '../produce/feature-files.ts'
import { readDraftConfig } from '../train/draft-config-file.ts'
import { type Check, type CheckSpec, checked, readable } from './doctor-check.ts'
import { checkTarget } from './doctor-target.ts'

const FIX = {
  'data.conversations':
    'set it to files of conversations: JSON lines, a JSON array or Parquet, also packed with gzip or zstd',
  'features.files': 'set it to a folder or a pattern such as "features/**/*.ckpt*"',
  'draft.config': 'set it to a draft config.json, or to auto',
  'eval.prompts':
    'set it to a file of held-out prompts: JSON lines, a JSON array or Parquet, also packed with gzip or zstd',
  'store.auth': `name the key file in store.auth.keyFile, or set ${STORE_KEY_ENV}`,
} as const
/** Enough to show what kind of data it is, read within a second. */
const FIRST_CONVERSATIONS = 1000
const specOf = (id: keyof typeof FIX): CheckSpec => ({ id, fix: FIX[id] })

/** Checks the input files that a config names, and the key of its store. Outputs of a run may be missing. */
export async function checkConfig(config: RunConfig): Promise<readonly Check[]> {
  const { target, draft, store } = config
  const checks = [...(await checkTarget(target, config.features.source === 'capture'))]
  checks.push(await producerInput(config))
  if (draft.config !== 'auto') checks.push(await draftConfig(draft.config, draft.architecture))
  if (config.eval.prompts !== null) checks.push(await prompts(config.eval.prompts))
  if (traitsOf(store).directory) checks.push(...(await storeKey(store)))
  return checks
}

/** The input of the producer. Training and evaluation do not need it, so a missing name is only a warning. */
async function producerInput({ features, data, run }: RunConfig): Promise<Check> {
  const spec = specOf(features.source === 'capture' ? 'data.conversations' : 'features.files')
  const unset: Check = { ...spec, state: 'warning', reason: 'not set: the producer has no input' }
  if (features.source === 'capture') {
    const named = data.conversations
    if (named === null) return unset
    const found = typeof named === 'string' && !/[*?{]/.test(named) ? await readable(spec, named) : null
    return found?.state === 'error' ? found : conversations(spec, named, { run, data })
  }
  const input = features.files
  if (input === null) return unset
  return checked(spec, async () => {
    const { files } = await findFeatureFiles(input)
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

/** Reads the first conversations only. A few bad ones among them are a warning: the capture counts them. */
async function conversations(
  spec: CheckSpec,
  named: string | readonly string[],
  { run, data }: Pick<RunConfig, 'run' | 'data'>,
): Promise<Check> {
  const bad: CodedError[] = []
  let good = 0
  const check = await checked(spec, async () => {
    const files = await dataFiles(named)
    for await (const item of readConversations(files, { runId: run.id, limit: FIRST_CONVERSATIONS, part: null })) {
      if (item.kind === 'refused') bad.push(item.error)
      else good += 1
    }
    if (good === 0)
      throw bad[0] ?? finding('FEATURE_INVALID', 'there is no conversation in these files', { file: files.join(', ') })
    const read = `${good === FIRST_CONVERSATIONS ? 'the first ' : ''}${plural(good, 'conversation')} can be read`
    return files.length === 1 ? `${files[0]}: ${read}` : `${plural(files.length, 'file')}, ${files[0]} first: ${read}`
  })
  const [first] = bad
  if (check.state !== 'ok' || first === undefined) return check
  const { reason, fix = spec.fix } = await checked(spec, async () => Promise.reject(first))
  const places = bad.slice(1, 5).flatMap(({ details }) => ('file' in details ? [String(details.file)] : []))
  const others = places.length === 0 ? '' : `; also ${places.join(', ')}`
  const told = `${check.reason}, ${count(bad.length)} cannot: ${reason}${others}`
  if (bad.length <= Math.max(1, data.maxBadShare * (good + bad.length)))
    return { ...spec, state: 'warning', reason: told, fix }
  return { ...spec, state: 'error', reason: `${told}. That is more than data.maxBadShare allows`, fix }
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
