import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { embedPython, type Python } from '../../../src/bridge/python.ts'
import { finding } from '../../../src/core/errors.ts'
import type { DraftArchitecture } from '../../../src/drafts/architecture.ts'
import { registerArchitecture } from '../../../src/drafts/registry.ts'

const Count = z.number().int().positive()
const MedusaConfig = z
  .object({
    architectures: z.array(z.string()).default(['MedusaForTests']),
    hidden_size: Count,
    vocab_size: Count,
    num_heads: Count.default(3),
  })
  .catchall(z.json())

/** A few heads on the output of one layer: head k predicts the token k + 2 positions later. Known to tests only. */
const medusa: DraftArchitecture = {
  name: 'medusa-for-tests',
  config: MedusaConfig,
  states: [{ name: 'layer_state', source: 'aux' }],
  auxLayers: ({ numLayers }) => [numLayers >> 1],
  configFor: ({ hiddenSize, vocabSize }) => MedusaConfig.parse({ hidden_size: hiddenSize, vocab_size: vocabSize }),
  requireFor: ({ hiddenSize }, { config: file }, given) => {
    if (given['hidden_size'] === hiddenSize) return
    throw finding('CONTRACT_MISMATCH', 'heads for another target', { file, field: 'hidden_size', fix: 'make new ones' })
  },
}

/** Registers both halves in this process. */
export async function installMedusa(): Promise<Python> {
  const python = await embedPython()
  registerArchitecture(medusa)
  const { pymport } = await import('pymport')
  await pymport('site')
    .get('addsitedir')
    .callAsync(path.dirname(fileURLToPath(import.meta.url)))
  pymport('medusa_architecture')
  return python
}
