import { BEAT_MS } from './heartbeat.ts'
import { type Monotonic, monotonic } from './monotonic.ts'
import type { PublishingFolder } from './publishing-folder.ts'

/**
 * Looks at every beat whether a publishing folder is still there. For a process that works under the claim of another one
 * on its machine: that one may itself be stopped when the claim is taken over.
 */
export class FenceWatch implements Disposable {
  /** Aborted once the folder was found to be taken away. */
  readonly fenced: AbortSignal
  readonly #timer: { stop(): void }

  constructor(folder: PublishingFolder, time: Monotonic = monotonic) {
    const found = new AbortController()
    this.fenced = found.signal
    let isLooking = false
    const look = async () => {
      isLooking = true
      // A look that fails is made up for by the next one, and a save finds out for itself.
      const isThere = await folder.isThere().catch(() => true)
      isLooking = false
      if (!isThere) found.abort('fenced')
    }
    this.#timer = time.every(BEAT_MS, () => {
      if (!isLooking && !found.signal.aborted) void look()
    })
  }

  [Symbol.dispose](): void {
    this.#timer.stop()
  }
}
