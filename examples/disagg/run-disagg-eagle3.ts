/**
 * Trains an EAGLE3 draft with the library: one branch for each role, one rank, existing feature files.
 *
 *     node --import tsx examples/disagg/run-disagg-eagle3.ts --config FILE [--role producer|consumer|colocated] [--set key=value]
 *
 * Without `--role` the role comes from DISAGG_ROLE, else from the number of the node. README.md says how to run it.
 */
import { parseArgs } from 'node:util'
import {
  buildDisaggEagle3Runtime,
  buildOfflineEagle3Runtime,
  CodedError,
  type EventBody,
  embedPython,
  ingestOfflineFeatures,
  loadConfig,
  localFeatureStore,
  type Manifest,
  poolPlace,
  type RunConfig,
  readRefManifest,
  sharedDirFeatureStore,
  type TrainingRuntime,
  waitForManifest,
} from '../../src/index.ts'

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(name))
const { signal } = stop
/** PyTorch runs in this process. */
const python = await embedPython()

/** Progress is one JSON line for each event that a parity check needs. */
const events = {
  emit: (body: EventBody) => {
    if (body.event === 'train.metrics') {
      const { step, loss, gradNorm, acc } = body
      process.stdout.write(`${JSON.stringify({ step, loss, gradNorm, acc: acc[0] })}\n`)
    }
  },
}

/** Stores the features in the shared folder and publishes the manifest. Ends when it is complete. */
async function producer(config: RunConfig): Promise<void> {
  const { root, durability, auth } = config.store
  await using store = await sharedDirFeatureStore({ python, root, durability, auth, retain: true })
  await ingestOfflineFeatures({ ...ingestOf(config), store, manifest: config.manifest })
}

/** Waits for the manifest, then trains from the shared folder. */
async function consumer(config: RunConfig): Promise<void> {
  const { root, retain, auth } = config.store
  await waitForManifest({ dir: config.manifest, signal, timeoutSeconds: config.launch.peerTimeoutSeconds })
  await using store = await sharedDirFeatureStore({ python, root, auth, retain, create: false })
  const manifest = await readRefManifest({ dir: config.manifest, storeId: store.id, key: store.key })
  await train(await buildDisaggEagle3Runtime({ config, store, manifest, events, signal }))
}

/** Both in this process, with the features in its memory: the baseline that the other two must equal. */
async function colocated(config: RunConfig): Promise<void> {
  await using store = await localFeatureStore({ python, retain: true })
  const manifest: Manifest = await ingestOfflineFeatures({
    ...ingestOf(config),
    store,
    manifest: `${config.run.dir}/colocated-manifest`,
  })
  const { refs, contract, countsFiles } = manifest
  const data = { refs, contract, countsFiles, manifestSha256: null }
  await train(await buildOfflineEagle3Runtime({ config, store, data, events, signal }))
}

async function train(built: TrainingRuntime): Promise<void> {
  await using runtime = built
  const { step, checkpoint, stopped } = await runtime.fit()
  process.stderr.write(`${stopped ? 'stopped after' : 'trained to'} step ${step}: ${checkpoint}\n`)
}

const ingestOf = ({ run, target, features, data }: RunConfig) => ({
  files: features.files ?? '',
  target: target.model,
  runId: run.id,
  maxLength: data.maxLength,
  signal,
})

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', default: 'draftbridge.yaml' },
      role: { type: 'string' },
      set: { type: 'string', multiple: true },
    },
  })
  const config = await loadConfig({ file: values.config, env: process.env, sets: values.set ?? [] })
  const { role } = poolPlace({ role: values.role, env: process.env, launch: config.launch })
  await { producer, consumer, colocated }[role](config)
}

await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof CodedError ? `${error.code}: ${error.message}` : String(error)}\n`)
  process.exitCode = error instanceof CodedError ? error.exitCode : 70
})
