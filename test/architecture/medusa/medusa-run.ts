import path from 'node:path'
import type { Python } from '../../../src/bridge/python.ts'
import { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import type { RoleContext } from '../../../src/roles/context.ts'
import { buildDisaggRuntime } from '../../../src/roles/train/runtime.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import type { TrainOutcome } from '../../../src/train/trainer.ts'

/** Eight optimiser steps over the conversations in `dir`, a checkpoint every two. */
export const medusaConfig = (dir: string, name: string): RunConfig =>
  RunConfig.parse({
    version: 1,
    run: { id: 'medusa', dir: path.join(dir, name), seed: 3 },
    target: { model: path.join(dir, 'target'), dtype: 'float32' },
    data: { conversations: path.join(dir, 'conversations.jsonl'), maxLength: 24 },
    store: { root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'store/manifest'),
    draft: { architecture: 'medusa-for-tests' },
    train: {
      epochs: 2,
      batch: { samples: 2 },
      precision: 'fp32',
      optimizer: { lr: 1e-2 },
      logInterval: 1,
      save: { every: 2, keep: 9 },
      validation: { share: 0.2, every: 4 },
    },
    eval: { prompts: path.join(dir, 'prompts.jsonl'), maxNewTokens: 12, steps: [1, 3, 5] },
  })

export async function trainMedusa(python: Python, config: RunConfig, context: RoleContext): Promise<TrainOutcome> {
  await using store = await sharedDirFeatureStore({ python, root: config.store.root, retain: true, create: false })
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id })
  const { architecture } = config.draft
  await using runtime = await buildDisaggRuntime({ architecture, config, python, store, manifest, ...context })
  return await runtime.fit()
}
