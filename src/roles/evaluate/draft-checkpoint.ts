import path from 'node:path'
import { z } from 'zod'
import type { Python } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import { readInputText } from '../../core/files/plain-file.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { RECORD, verify } from '../../train/checkpoints/checkpoint.ts'
import { type CheckpointRecord, parseRecord, recordText } from '../../train/checkpoints/checkpoint-record.ts'

/** The record of a checkpoint, or null: an exported folder has none. @throws CHECKPOINT_INVALID when it cannot be read. */
export async function draftRecord(draft: string): Promise<CheckpointRecord | null> {
  const file = path.join(draft, RECORD)
  const text = await recordText(file)
  return text === null ? null : parseRecord(text, file)
}

/**
 * The layers whose outputs the draft was trained on: those of its checkpoint's capture contract. For a folder without
 * one: those that its config.json names, or else those that its architecture takes from this target.
 */
export async function auxLayersFor(
  python: Python,
  { target, draft }: Pick<RunConfig, 'target' | 'draft'>,
  directory: string,
  record: CheckpointRecord | null,
): Promise<readonly number[]> {
  if (record?.contract != null) return record.contract.auxLayers
  const { shape } = await python.call('target.describe', { model: target.model })
  const architecture = architectureOf(draft.architecture)
  const file = path.join(directory, 'config.json')
  // Python reads the whole config and reports what is wrong with it.
  const text = await readInputText(file, { refuse: (found) => unreadable(file, found) }).catch(() => '{}')
  const config = z.record(z.string(), z.json()).safeParse(parsed(text))
  return config.success ? architecture.auxLayers(shape, { file, config: config.data }) : architecture.auxLayers(shape)
}

const unreadable = (file: string, found: string) =>
  finding('CHECKPOINT_INVALID', 'this cannot be the config of a draft', { file, found, fix: 'choose another draft' })

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** @throws CHECKPOINT_INVALID for damaged files, CONTRACT_MISMATCH for a draft of another target. */
export async function requireDraftFor(
  python: Python,
  model: string,
  draft: string,
  record: CheckpointRecord,
): Promise<void> {
  const file = path.join(draft, RECORD)
  await verify({ dir: draft, record })
  const { hash } = await python.call('target.identity', { model, tokenizer: null })
  const trained = record.identity['target.model']
  if (hash === trained) return
  throw finding('CONTRACT_MISMATCH', 'the draft was trained for another target', {
    file,
    field: 'identity.target.model',
    found: `${String(trained)}; target.model is ${model} (${hash})`,
    fix: 'name the target that the draft was trained for in target.model',
  })
}
