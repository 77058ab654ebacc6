import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Check, type CheckSpec, readable } from './doctor-check.ts'

const MODEL: CheckSpec = { id: 'target.model', fix: 'set it to a model folder or a .gguf file' }
const TOKENIZER: CheckSpec = {
  id: 'target.tokenizer',
  fix: 'set it to the folder of a tokenizer, or leave it out to use the tokenizer of the model',
}

const WEIGHTS = /\.(safetensors|bin)$/
const TOKENIZER_FILE = /^(tokenizer\.json|tekken\.json|vocab\.(json|txt)|.*\.model(\.v\d+)?|.*\.tiktoken)$/
const TEMPLATE_FILE = /^(chat_template\.(jinja|json)|additional_chat_templates)$/

/**
 * Whether the files are there that a capture will open: weights, a tokenizer, a chat template. Only their names are looked
 * at. Nothing is loaded.
 */
export async function checkTarget(
  { model, tokenizer }: { readonly model: string; readonly tokenizer: string | null },
  isCaptured: boolean,
): Promise<readonly Check[]> {
  const checks = [await modelFiles(model)]
  if (tokenizer !== null) checks.push(await readable(TOKENIZER, tokenizer))
  const isThere = checks.every(({ state }) => state === 'ok')
  const folder = tokenizer ?? model
  if (!isThere || !isCaptured || !(await isFolder(folder))) return checks
  const trouble = await tokenizerTrouble(folder)
  return trouble === null ? checks : [...checks, trouble]
}

async function modelFiles(model: string): Promise<Check> {
  const found = await readable(MODEL, model)
  if (found.state !== 'ok' || !(await isFolder(model))) return found
  const files = await readdir(model)
  const lacks = (reason: string, fix: string): Check => ({
    ...MODEL,
    state: 'error',
    reason: `${model}: ${reason}`,
    fix,
  })
  const download = 'download the whole model folder, or name another one'
  if (!files.includes('config.json')) return lacks('no config.json, so this is no model folder', MODEL.fix)
  return files.some((file) => WEIGHTS.test(file)) ? found : lacks('no weights (*.safetensors, *.bin)', download)
}

async function tokenizerTrouble(folder: string): Promise<Check | null> {
  const files = await readdir(folder)
  if (!files.some((file) => TOKENIZER_FILE.test(file))) {
    const fix = 'download tokenizer.json or tokenizer.model, or name a folder that has it in target.tokenizer'
    return { ...TOKENIZER, state: 'error', reason: `${folder}: no tokenizer in this folder`, fix }
  }
  if (files.some((file) => TEMPLATE_FILE.test(file)) || (await namesTemplate(folder))) return null
  const fix = 'use an instruction-tuned model, or add its chat_template.jinja; conversations need it'
  return { id: 'target.chatTemplate', state: 'warning', reason: `${folder}: no chat template in this folder`, fix }
}

async function namesTemplate(folder: string): Promise<boolean> {
  const text = await readFile(path.join(folder, 'tokenizer_config.json'), 'utf8').catch(() => '')
  return text.includes('"chat_template"')
}

const isFolder = async (place: string): Promise<boolean> => (await stat(place)).isDirectory()
