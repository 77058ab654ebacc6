import { throwIfStopped } from '../../core/interruption.ts'
import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import { type ManifestLayout, manifestLayout } from '../parts/manifest-layout.ts'
import type { RootKey } from '../root/root-mac.ts'
import { type Manifest, readRefManifest } from './manifest-reader.ts'
import { failedPeer, type PeerRoot, ProducerSigns } from './producer-signs.ts'

const POLL_MS = 500

/** Of a manifest in parts: how many are complete. */
export interface PartsDone {
  readonly complete: number
  readonly count: number
}

export interface WaitOptions {
  readonly dir: string
  readonly time?: Monotonic
  readonly signal: AbortSignal
  /** How long to wait without a sign of life from a producer. */
  readonly timeoutSeconds: number
  /** Called when the manifest is not complete at first, and whenever another number of its parts is complete. */
  readonly onWait?: (parts: PartsDone | null) => void
  /** The key of the store, which must have signed the manifest. */
  readonly key?: RootKey | null
}

/**
 * Waits until all producers have completed the manifest, however long that takes, as long as their heartbeats go on.
 * A sign of life is a heartbeat that changes, watched on this process's own time: clocks may differ, and may step.
 * @throws PEER_FAILED at once when a producer has failed, PEER_TIMEOUT when one that has begun is silent, or when one is
 * missing and all others are silent; both name the part. INTERRUPTED.
 */
export async function waitForManifest(options: WaitOptions): Promise<Manifest> {
  const { dir, time = monotonic, signal, timeoutSeconds, key = null } = options
  const signs = new ProducerSigns(dir, timeoutSeconds, time)
  let announced: string | null = null
  for (;;) {
    throwIfStopped(signal, `stopped while waiting for the manifest in ${dir}`)
    const layout = await manifestLayout(dir, key)
    const roots = rootsOf(dir, layout)
    const failed = roots.find(({ root }) => root.state === 'failed')
    if (failed !== undefined) throw failedPeer(failed)
    const done = partsDone(layout)
    const complete = roots.filter(({ root }) => root.state === 'complete').length
    if (roots.length > 0 && complete === (done?.count ?? 1)) return readRefManifest({ dir, key })
    signs.expectLife(roots, done?.count ?? 1)
    const text = JSON.stringify(done)
    if (text !== announced) options.onWait?.(done)
    announced = text
    await time.sleep(POLL_MS, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

function rootsOf(dir: string, layout: ManifestLayout): readonly PeerRoot[] {
  if (layout.kind === 'nothing') return []
  return layout.kind === 'parts' ? layout.begun : [{ dir, root: layout.found.root }]
}

function partsDone(layout: ManifestLayout): PartsDone | null {
  if (layout.kind !== 'parts') return null
  return { complete: layout.begun.filter(({ root }) => root.state === 'complete').length, count: layout.count }
}
