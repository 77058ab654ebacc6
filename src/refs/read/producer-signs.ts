import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import type { Monotonic } from '../../core/liveness/monotonic.ts'
import { partFolder } from '../parts/part-folders.ts'
import { type ManifestRoot, ROOT_FILE } from '../root/manifest-schema.ts'

/** The root that one producer writes, and its folder. */
export interface PeerRoot {
  readonly dir: string
  readonly root: ManifestRoot
}

interface Sign {
  readonly heartbeat: number
  readonly state: ManifestRoot['state']
  readonly seenAt: number
}

/** Which producers give signs of life, by the time of this process. */
export class ProducerSigns {
  readonly #dir: string
  readonly #timeoutSeconds: number
  readonly #time: Pick<Monotonic, 'now'>
  readonly #last = new Map<string, Sign>()
  /** When any of them gave one. */
  #lastOfAny: number

  constructor(dir: string, timeoutSeconds: number, time: Pick<Monotonic, 'now'>) {
    this.#dir = dir
    this.#timeoutSeconds = timeoutSeconds
    this.#time = time
    this.#lastOfAny = time.now()
  }

  /**
   * Takes in what the producers have written. `count`: how many of them there will be.
   * @throws PEER_TIMEOUT naming the one that is silent; one that has not begun counts as alive while another gives signs.
   */
  expectLife(roots: readonly PeerRoot[], count: number): void {
    for (const { dir, root } of roots) this.#note(dir, root)
    for (const { dir, root } of roots) {
      const seenAt = this.#last.get(dir)?.seenAt ?? this.#lastOfAny
      if (root.state === 'open' && this.#isLongAgo(seenAt)) throw silentPeer(dir, root, this.#timeoutSeconds)
    }
    if (roots.length >= count || !this.#isLongAgo(this.#lastOfAny)) return
    throw missingPeer(this.#missing(roots, count), this.#timeoutSeconds, roots.length > 0)
  }

  #note(dir: string, { heartbeat, state }: ManifestRoot): void {
    const last = this.#last.get(dir)
    if (last?.heartbeat === heartbeat && last.state === state) return
    this.#lastOfAny = this.#time.now()
    this.#last.set(dir, { heartbeat, state, seenAt: this.#lastOfAny })
  }

  #isLongAgo(at: number): boolean {
    return this.#time.now() - at > this.#timeoutSeconds * 1000
  }

  /** The folder in which the first missing producer would write. */
  #missing(roots: readonly PeerRoot[], count: number): string {
    if (count === 1) return this.#dir
    const begun = new Set(roots.map(({ dir }) => dir))
    const folders = Array.from({ length: count }, (_, index) => partFolder(this.#dir, index))
    return folders.find((folder) => !begun.has(folder)) ?? this.#dir
  }
}

export const failedPeer = ({ dir, root }: PeerRoot): CodedError =>
  finding('PEER_FAILED', `the producer${ofPart(root)} has failed`, {
    file: path.join(dir, ROOT_FILE),
    field: 'state',
    found: `failed (${root.error ?? 'no code'}) at ${new Date(root.heartbeat).toISOString()}`,
    fix: 'see what the producer printed, or the end of events.ndjson in its run.dir, and start it again; it goes on where it stopped',
  })

const FIX = 'start the producer (or find out why it stopped), or raise launch.peerTimeoutSeconds'

const silentPeer = (dir: string, root: ManifestRoot, timeoutSeconds: number): CodedError =>
  finding('PEER_TIMEOUT', `the producer${ofPart(root)} gives no sign of life`, {
    file: path.join(dir, ROOT_FILE),
    field: 'heartbeat',
    found: `${new Date(root.heartbeat).toISOString()}, unchanged for more than ${timeoutSeconds} s`,
    fix: FIX,
  })

function missingPeer(dir: string, timeoutSeconds: number, hasOthers: boolean): CodedError {
  const what = hasOthers ? 'a part of the manifest has no producer' : 'no producer has begun a manifest'
  const silence = hasOthers
    ? `, and no other part changed for more than ${timeoutSeconds} s`
    : ` for ${timeoutSeconds} s`
  return finding('PEER_TIMEOUT', what, { file: path.join(dir, ROOT_FILE), found: `no such file${silence}`, fix: FIX })
}

const ofPart = ({ part }: ManifestRoot): string =>
  part === undefined ? '' : ` of part ${part.index} (of 0 to ${part.count - 1})`
