import type { RunId } from '../../core/ids.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { readManifestSoFar } from '../../refs/read/manifest-reader.ts'
import { keyText } from '../../store/blob-key.ts'
import type { FoundObject, Inventory } from '../../store/blobs/inventory.ts'
import type { Judgement } from '../../store/maintenance/sweep.ts'
import type { MaintenanceStore } from '../../store/open-for-maintenance.ts'

interface Published {
  readonly dir: string
  readonly runId: RunId
  /** The manifest is complete: its producer adds no more samples. */
  readonly complete: boolean
}

/** The manifests of a store that the user named: the samples that they list, and the runs that are complete. */
export class StoreManifests {
  readonly published: readonly Published[]
  readonly #refs: ReadonlyMap<string, SampleRef>
  readonly #runs: ReadonlyMap<string, boolean>

  /** @throws MANIFEST_INVALID, REF_INVALID or STORE_AUTH: a manifest that fails its checks must not decide what is deleted. */
  static async read(dirs: readonly string[], { parts, key }: MaintenanceStore): Promise<StoreManifests> {
    const refs = new Map<string, SampleRef>()
    const published: Published[] = []
    for (const dir of dirs) {
      const { root, refs: listed } = await readManifestSoFar({ dir, storeId: parts.id, key })
      // One part by itself does not list the samples of the others, which are of the same run.
      const complete = root.state === 'complete' && root.part === undefined
      published.push({ dir, runId: root.run_id, complete })
      for (const ref of listed) refs.set(keyText(ref), ref)
    }
    return new StoreManifests(published, refs)
  }

  private constructor(published: readonly Published[], refs: ReadonlyMap<string, SampleRef>) {
    this.published = published
    this.#refs = refs
    const runs = new Map<string, boolean>()
    for (const { runId, complete } of published) runs.set(runId, complete && (runs.get(runId) ?? true))
    this.#runs = runs
  }

  /** Manifests that are not complete: their producers may still publish samples that are already stored. */
  get incomplete(): readonly Published[] {
    return this.published.filter(({ complete }) => !complete)
  }

  refOf(key: FoundObject['key']): SampleRef | undefined {
    return this.#refs.get(keyText(key))
  }

  refs(): Iterable<SampleRef> {
    return this.#refs.values()
  }

  /** An orphan is an object that no named manifest lists, while every named manifest of its run is complete. */
  async judge(object: FoundObject, files: Inventory): Promise<Judgement> {
    if (this.#refs.has(keyText(object.key))) return 'listed'
    const label = await files.label(object)
    return label !== null && this.#runs.get(label.runId) === true ? 'orphan' : 'unknown'
  }
}
