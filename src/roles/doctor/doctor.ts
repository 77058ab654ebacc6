import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { embedPython } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { hasCode } from '../../core/errors.ts'
import type { Check } from './doctor-check.ts'
import { examineConfig } from './doctor-config.ts'

const LEAST_NODE = 20

/** Looks at all that a run needs. Config is optional: without it there are no paths to look at. */
export async function examine(config: RunConfig | null): Promise<readonly Check[]> {
  const checks = [node(process.versions.node), ...(await python())]
  if (config !== null) checks.push(...(await examineConfig(config)), await store(config.store))
  return checks
}

function node(version: string): Check {
  const major = Number(version.split('.')[0])
  if (major >= LEAST_NODE) return { id: 'node', state: 'ok', reason: `Node ${version}` }
  return {
    id: 'node',
    state: 'error',
    reason: `Node ${version} is too old`,
    fix: `install Node ${LEAST_NODE} or newer`,
  }
}

async function python(): Promise<Check[]> {
  try {
    const info = await (await embedPython()).call('host.info', {})
    const gpus = info.cudaDevices
    return [
      { id: 'bridge', state: 'ok', reason: 'CPython runs inside this process' },
      { id: 'python', state: 'ok', reason: `Python ${info.python.split(' ')[0]} (${info.executable})` },
      { id: 'torch', state: 'ok', reason: `torch ${info.torch}, ${info.threads} threads` },
      transformers(info.transformers),
      {
        id: 'gpu',
        state: 'ok',
        reason: gpus === 0 ? 'no GPU: everything runs on the CPU, with gloo' : `${gpus} CUDA devices`,
      },
    ]
  } catch (error) {
    if (!hasCode(error, 'PYTHON_UNAVAILABLE', 'PYTHON_RAISED')) throw error
    const reason = error.message.split('\n').slice(0, 2).join('; ')
    return [{ id: 'bridge', state: 'error', reason, fix: 'run `npm run setup`' }]
  }
}

function transformers(version: string | null): Check {
  if (version !== null) return { id: 'transformers', state: 'ok', reason: `transformers ${version}` }
  const reason = 'transformers is not installed: capture and eval need it, training does not'
  return { id: 'transformers', state: 'warning', reason, fix: 'run `npm run setup`' }
}

/** A store that takes a file and gives its room back is one that a producer can use. */
async function store(config: RunConfig['store']): Promise<Check> {
  const { kind, root } = config
  if (!traitsOf(config).directory)
    return { id: 'store', state: 'ok', reason: `${kind}: features stay in the process that made them` }
  const probe = path.join(root, `.doctor-${process.pid}`)
  try {
    const made = await mkdir(root, { recursive: true })
    await writeFile(probe, 'x')
    await rm(probe)
    // Looking must not leave a folder behind that the next look would take for a store.
    if (made !== undefined) await rm(made, { recursive: true })
    return { id: 'store', state: 'ok', reason: `${root} can be written` }
  } catch (error) {
    const reason = `${root} cannot be written: ${error instanceof Error ? error.message : String(error)}`
    return { id: 'store', state: 'error', reason, fix: 'set store.root to a folder that both pools can write' }
  }
}
