import path from 'node:path'
import type { Python } from '../../bridge/python.ts'
import { finding } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { verify } from '../../train/checkpoints/checkpoint.ts'
import { parseRecord } from '../../train/checkpoints/checkpoint-record.ts'

/**
 * A checkpoint says what its files must be and which target it was trained for; an exported folder says neither.
 * @throws CHECKPOINT_INVALID for damaged files, CONTRACT_MISMATCH for another target.
 */
export async function requireDraftFor(python: Python, model: string, draft: string): Promise<void> {
  const file = path.join(draft, 'checkpoint.json')
  const text = await readTextOrNull(file)
  if (text === null) return
  const record = parseRecord(text, file)
  await verify({ dir: draft, record })
  const { hash } = await python.call('target.identity', { model })
  const trained = record.identity['target.model']
  if (hash === trained) return
  throw finding('CONTRACT_MISMATCH', 'the draft was trained for another target', {
    file,
    field: 'identity.target.model',
    found: `${String(trained)}; target.model is ${model} (${hash})`,
    fix: 'name the target that the draft was trained for in target.model',
  })
}
