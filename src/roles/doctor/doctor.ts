import { embedPython } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { hasCode } from '../../core/errors.ts'
import type { Check } from './doctor-check.ts'
import { checkConfig } from './doctor-config.ts'
import { checkStore } from './doctor-store.ts'

const MIN_NODE = 20

/** Checks everything that a run needs. Without a config it skips the paths and the store. */
export async function runChecks(config: RunConfig | null): Promise<readonly Check[]> {
  const checks = [node(process.versions.node), ...(await python())]
  if (config !== null) checks.push(...(await checkConfig(config)), ...(await checkStore(config.store)))
  return checks
}

function node(version: string): Check {
  const major = Number(version.split('.')[0])
  if (major >= MIN_NODE) return { id: 'node', state: 'ok', reason: `Node ${version}` }
  return {
    id: 'node',
    state: 'error',
    reason: `Node ${version} is too old`,
    fix: `install Node ${MIN_NODE} or newer`,
  }
}

async function python(): Promise<Check[]> {
  try {
    const info = await (await embedPython()).call('host.info', {})
    const gpus = info.cudaDevices
    return [
      { id: 'bridge', state: 'ok', reason: 'CPython runs in this process' },
      { id: 'python', state: 'ok', reason: `Python ${info.python.split(' ')[0]} (${info.executable})` },
      { id: 'torch', state: 'ok', reason: `torch ${info.torch}, ${info.threads} threads` },
      transformers(info.transformers),
      {
        id: 'gpu',
        state: 'ok',
        reason:
          gpus === 0 ? 'no GPU found: training runs on the CPU' : `${gpus} CUDA ${gpus === 1 ? 'device' : 'devices'}`,
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
  const reason = 'transformers is not installed; capture and eval need it, training does not'
  return { id: 'transformers', state: 'warning', reason, fix: 'run `npm run setup`' }
}
