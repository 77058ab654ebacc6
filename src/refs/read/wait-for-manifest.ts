import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import { readManifestRoot } from '../root/manifest-root.ts'
import { type ManifestRoot, ROOT_FILE } from '../root/manifest-schema.ts'
import type { RootKey } from '../root/root-mac.ts'
import { type Manifest, readRefManifest } from './manifest-reader.ts'

const POLL_MS = 500

export interface WaitOptions {
  readonly dir: string
  readonly time?: Monotonic
  readonly signal: AbortSignal
  /** How long to wait without a sign of life from the producer. */
  readonly timeoutSeconds: number
  /** Called once, when the manifest is not complete at first. */
  readonly onWait?: () => void
  /** The key of the store, which must have signed the manifest. */
  readonly key?: RootKey | null
}

/**
 * Waits until the producer has completed the manifest, however long that takes, as long as its heartbeat goes on.
 * A sign of life is a heartbeat that changes, watched on this process's own time: clocks may differ, and may step.
 * @throws PEER_FAILED at once when the producer has failed, PEER_TIMEOUT, INTERRUPTED.
 */
export async function waitForManifest(options: WaitOptions): Promise<Manifest> {
  const { dir, time = monotonic, signal, timeoutSeconds, key = null } = options
  let lastSign = time.now()
  let isAnnounced = false
  let heartbeat: number | undefined
  for (;;) {
    throwIfStopped(signal, `stopped while waiting for the manifest in ${dir}`)
    const root = (await readManifestRoot(dir, key))?.root
    if (root?.state === 'complete') return readRefManifest({ dir, key })
    if (root?.state === 'failed') throw peerFailed(dir, root)
    if (root !== undefined && root.heartbeat !== heartbeat) {
      heartbeat = root.heartbeat
      lastSign = time.now()
    }
    if (time.now() - lastSign > timeoutSeconds * 1000) throw peerTimeout(dir, root, timeoutSeconds)
    if (!isAnnounced) options.onWait?.()
    isAnnounced = true
    await time.sleep(POLL_MS, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

const peerFailed = (dir: string, root: ManifestRoot): CodedError =>
  finding('PEER_FAILED', 'the producer has failed', {
    file: path.join(dir, ROOT_FILE),
    field: 'state',
    found: `failed (${root.error ?? 'no code'}) at ${new Date(root.heartbeat).toISOString()}`,
    fix: 'see what the producer reported and start it again; it goes on where it stopped',
  })

function peerTimeout(dir: string, root: ManifestRoot | undefined, timeoutSeconds: number): CodedError {
  const file = path.join(dir, ROOT_FILE)
  const fix = 'start the producer (or find out why it stopped), or raise launch.peerTimeoutSeconds'
  if (root === undefined) {
    const found = `no such file for ${timeoutSeconds} s`
    return finding('PEER_TIMEOUT', 'no producer has begun a manifest', { file, found, fix })
  }
  return finding('PEER_TIMEOUT', 'the producer gives no sign of life', {
    file,
    field: 'heartbeat',
    found: `${new Date(root.heartbeat).toISOString()}, unchanged for more than ${timeoutSeconds} s`,
    fix,
  })
}
