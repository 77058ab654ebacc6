import path from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { finding } from '../../core/errors.ts'
import type { RunId, SampleId, StoreId } from '../../core/ids.ts'
import type { Part } from '../../core/part.ts'
import type { ProducedHealth } from '../../core/produced-health.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import type { CaptureContract } from '../../core/target-contract.ts'
import { healthText } from '../health-file.ts'
import { LineMaker } from '../lines/line-maker.ts'
import { type Lines, PendingLines, without } from '../lines/lines.ts'
import { RefParser, type RefRoot } from '../lines/parse-ref.ts'
import { NEW_WORK } from '../new-work.ts'
import { requireFitting } from '../parts/require-fitting.ts'
import { readFolder } from '../read/read-folder.ts'
import { RefList } from '../read/ref-list.ts'
import {
  COUNTS_FILE,
  emptyRoot,
  HEALTH_FILE,
  type HealthEntry,
  MANIFEST_VERSION,
  type ManifestRoot,
  ROOT_FILE,
  type SegmentEntry,
  segmentName,
} from '../root/manifest-schema.ts'
import { type RootKey, signedRootText } from '../root/root-mac.ts'
import { sha256 } from '../sha256.ts'
import { countsText, type TokenCount } from '../token-counts-file.ts'
import { ProducerStage } from './producer-stage.ts'
import { PublishedRefs } from './published-refs.ts'
import { inSegments, joined } from './segment-run.ts'

export interface ManifestOptions {
  readonly dir: string
  readonly runId: RunId
  readonly storeId: StoreId
  readonly contract: CaptureContract
  /** Identity of what is captured or ingested: see `requireSameWork` for what may change. */
  readonly inputs?: string
  /** `dir` is the folder of this part. Default: it is that of the whole manifest. */
  readonly part?: Part | undefined
  /** Continue a complete manifest too: some of its samples are missing from the store. */
  readonly reopen?: boolean
  readonly clock: Clock
  /** The key of the store, with which the manifest is signed. */
  readonly key?: RootKey | null
}

/** Publishes refs. Owns the manifest folder: a new writer fences an older one, and readers see whole states only. */
export class ManifestWriter implements AsyncDisposable {
  readonly dir: string
  readonly #options: ManifestOptions
  readonly #stage: ProducerStage
  readonly #published: PublishedRefs
  readonly #withdrawn = new Set<SampleId>()
  readonly #lines: LineMaker
  readonly #pending = new PendingLines()
  #nextSegment: number
  #root: ManifestRoot

  private constructor(options: ManifestOptions, stage: ProducerStage, root: ManifestRoot, published: PublishedRefs) {
    this.dir = options.dir
    this.#options = options
    this.#stage = stage
    this.#root = root
    this.#published = published
    this.#lines = new LineMaker({ specs: root.specs, keys: root.provenance_keys })
    this.#nextSegment = 1 + Math.max(-1, ...root.segments.map(({ file }) => Number(/\d+/.exec(file)?.[0])))
  }

  /**
   * Begins a manifest, or goes on with an open or failed one of the same run, store, contract and inputs.
   * A complete one is left as it is unless it is to be reopened: see `isComplete`.
   * @throws MANIFEST_INVALID when the folder holds the manifest of other work, or a damaged one.
   */
  static async open(options: ManifestOptions): Promise<ManifestWriter> {
    const { dir, clock, contract, key = null } = options
    const fresh = emptyRoot(options, clock.now())
    // Checked before the stage is opened, which would fence the producer of other work.
    await requireFitting(options, { ...fresh, contract })
    const stage = await ProducerStage.open(dir)
    try {
      const earlier = await requireFitting(options, { ...fresh, contract })
      const published = new PublishedRefs(dir)
      const root = earlier ? await loadPublished(published, dir, key) : fresh
      const writer = new ManifestWriter(options, stage, root, published)
      if (writer.isComplete && options.reopen !== true) await stage[Symbol.asyncDispose]()
      else {
        const begun = { state: 'open', error: null, token_counts: null, health: null } as const
        await writer.#replaceRoot({ ...begun, inputs: fresh.inputs })
      }
      // A producer of the other kind, or of other parts, may have begun at the same moment: one of the two sees the other.
      await requireFitting(options, { ...fresh, contract })
      return writer
    } catch (error) {
      await stage[Symbol.asyncDispose]().catch(() => undefined)
      throw error
    }
  }

  /** Nothing is left to do, and nothing can be added. */
  get isComplete(): boolean {
    return this.#root.state === 'complete'
  }

  /** Samples that earlier flushes, also of an interrupted run, have published. */
  get published(): Pick<PublishedRefs, 'has' | 'keys' | 'size'> & { get(id: SampleId): SampleRef | undefined } {
    const published = this.#published
    return {
      has: (id) => published.has(id),
      keys: () => published.keys(),
      get: (id) => published.get(id, this.#shared),
      size: published.size,
    }
  }

  get segments(): number {
    return this.#root.segments.length
  }

  /** Queues a ref for the next flush. */
  append(ref: SampleRef): void {
    this.#requireOpen()
    const text = this.#lines.make(ref)
    const own = ref.runId === this.#root.run_id && ref.storeId === this.#root.store_id
    const taken = this.#published.has(ref.sampleId) && !this.#withdrawn.has(ref.sampleId)
    if (own && !taken && !this.#pending.has(ref.sampleId)) {
      this.#pending.add(ref.sampleId, text)
      return
    }
    throw finding('REF_INVALID', 'this ref cannot be published here', {
      file: path.join(this.dir, ROOT_FILE),
      field: own ? 'sampleId' : 'runId, storeId',
      found: own ? `${ref.sampleId}, a second time` : `${ref.runId}, ${ref.storeId}`,
      fix: own ? 'publish a sample once' : 'publish a ref in the manifest of its own run and store',
    })
  }

  /** Removes a ref whose object is gone, so that the sample can be produced again. Takes effect at the next flush. */
  withdraw(sampleId: SampleId): void {
    this.#requireOpen()
    if (this.#published.has(sampleId)) this.#withdrawn.add(sampleId)
  }

  /**
   * Publishes the queued refs, and moves the heartbeat even without one. Its cost depends on the new refs only. `health`:
   * what a producer counted that ends here; only the first one is written.
   */
  async flush(health: ProducedHealth | null = null): Promise<void> {
    this.#requireOpen()
    const published = this.#published
    const pending = this.#pending.seal()
    const withdrawn = [...this.#withdrawn]
    const { replaced, lines } = await this.#stage.reading(() => this.#joinedLines(pending))
    const added = await this.#writeSegments(lines)
    const left = published.entries.filter((entry) => !replaced.has(entry))
    const segments = [...left, ...added.map(({ entry }) => entry)]
    const { specs, keys } = this.#lines.shared
    const counted = health === null || this.#root.health !== null ? {} : { health: await this.#writeHealth(health) }
    await this.#replaceRoot({ specs: [...specs], provenance_keys: [...keys], segments, ...counted })
    published.drop(replaced, withdrawn)
    for (const { entry, ids } of added) published.add(entry, ids)
    // What was appended or withdrawn during this flush waits for the next one.
    this.#pending.drop(pending)
    for (const id of withdrawn) this.#withdrawn.delete(id)
    for (const { file } of replaced) await this.#stage.retire(file)
  }

  /** Publishes the queued refs and marks the manifest complete. `counts`: trained tokens over all refs. */
  async complete(counts: readonly TokenCount[], health: ProducedHealth | null = null): Promise<void> {
    await this.flush(health)
    const { text, count } = countsText(counts)
    await this.#stage.publish(COUNTS_FILE, text)
    const listed = { file: COUNTS_FILE, count, bytes: Buffer.byteLength(text), sha256: sha256(text) } as const
    await this.#replaceRoot({ state: 'complete', token_counts: listed })
    await this[Symbol.asyncDispose]()
  }

  /** Publishes nothing more. A manifest that is not complete stays as it is, for the next writer to go on from. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stage[Symbol.asyncDispose]()
  }

  get #shared(): RefRoot {
    return { runId: this.#root.run_id, storeId: this.#root.store_id, ...this.#lines.shared }
  }

  /** What the next segments hold: what is new, and what is left of the segments that they replace. */
  #joinedLines(pending: readonly Lines[]): {
    readonly replaced: ReadonlySet<SegmentEntry>
    readonly lines: readonly Lines[]
  } {
    const published = this.#published
    const parser = new RefParser(this.#shared)
    const touched = published.holding(this.#withdrawn)
    const left = [...touched].map((entry) => without(published.lines(entry, parser), this.#withdrawn))
    const fresh = [...left, ...pending]
    const untouched = published.entries.filter((entry) => !touched.has(entry))
    const tail = joined(untouched, sizeOf(fresh))
    const lines = [...tail.map((entry) => published.lines(entry, parser)), ...fresh]
    return { replaced: new Set([...touched, ...tail]), lines }
  }

  // A segment counts once the root lists it, so one that a crash left behind is overwritten.
  async #writeSegments(lines: readonly Lines[]) {
    const added = []
    for (const { ids, content } of inSegments(lines)) {
      const file = segmentName(this.#nextSegment)
      this.#nextSegment += 1
      await this.#stage.publish(file, content)
      added.push({ entry: { file, count: ids.length, bytes: content.length, sha256: sha256(content) }, ids })
    }
    return added
  }

  // Once: a root that lists other bytes than the file has is a damaged manifest. Opening takes it off the root.
  async #writeHealth(health: ProducedHealth): Promise<HealthEntry> {
    const text = healthText(health)
    await this.#stage.publish(HEALTH_FILE, text)
    return { file: HEALTH_FILE, count: 1, bytes: Buffer.byteLength(text), sha256: sha256(text) }
  }

  async #replaceRoot(change: Partial<ManifestRoot>): Promise<void> {
    const { key = null, clock } = this.#options
    // New lines have facts, also in a manifest that was begun under version 1.
    const heartbeat = nextBeat(this.#root.heartbeat, clock.now())
    const root: ManifestRoot = { ...this.#root, ...change, schema_version: MANIFEST_VERSION, heartbeat }
    // The files that the root lists must be on disk before the root is.
    const isListing = root.token_counts !== null || root.health !== null
    if (root.segments !== this.#root.segments || isListing) await this.#stage.sync()
    await this.#stage.publish(ROOT_FILE, await signedRootText(root, key))
    await this.#stage.sync()
    this.#root = root
  }

  #requireOpen(): void {
    if (this.#root.state === 'open') return
    throw finding('MANIFEST_INVALID', 'nothing can be added to this manifest', {
      file: path.join(this.dir, ROOT_FILE),
      field: 'state',
      found: this.#root.state,
      fix: NEW_WORK,
    })
  }
}

/** Only that a heartbeat changes is a sign of life; a clock may stand still or step back. */
const nextBeat = (last: number, now: number): number => (now === last ? now + 1 : now)

const sizeOf = (parts: readonly Lines[]): number => parts.reduce((sum, { bytes }) => sum + bytes.length, 0)

async function loadPublished(published: PublishedRefs, dir: string, key: RootKey | null): Promise<ManifestRoot> {
  const { root, source } = await readFolder(dir, key)
  const ids = new RefList([source]).checkPublished()
  let first = 0
  for (const entry of root.segments) {
    published.add(entry, ids.slice(first, first + entry.count))
    first += entry.count
  }
  return root
}
