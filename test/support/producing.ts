import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { RunConfig } from '../../src/config/schema.ts'
import { monotonic } from '../../src/core/liveness/monotonic.ts'
import { readManifestRoot } from '../../src/refs/manifest.ts'
import { type Watched, watched } from './training.ts'

export const finished = ({ seen }: Watched) => seen.find((body) => body.event === 'produce.finished')
export const stateOf = async (config: RunConfig) => (await readManifestRoot(config.manifest))?.root

/** Asks to stop once `samples` were taken in; what is under way then is still published. */
export function stoppingAfter(samples: number): Watched {
  let taken = 0
  const context = watched((body) => {
    taken += Number(body.event === 'produce.progress')
    if (taken === samples) context.abort.abort('SIGTERM')
  })
  // Every sample is a second apart, so that each is reported.
  let now = 0
  const time = { ...monotonic, now: () => (now += 1000) }
  return Object.assign(context, { time })
}

/** The objects of a store, by path below its root. */
export async function listing(store: string): Promise<string[]> {
  const names = await readdir(path.join(store, 'objects'), { recursive: true })
  return names
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => path.join('objects', name))
    .sort()
}

/** A producer's config: the target of `trainingInputs`, and a store, a manifest and a run of its own in `dir`. */
export function producing(inputs: string, dir: string, more: Record<string, unknown>): RunConfig {
  return RunConfig.parse({
    version: 1,
    run: { id: 'test', dir: path.join(dir, 'run') },
    target: { model: path.join(inputs, 'target'), dtype: 'float32' },
    data: { maxLength: 18 },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'manifest'),
    ...more,
  })
}
