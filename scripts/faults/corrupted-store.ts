import { createHash } from 'node:crypto'
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { systemClock } from '../../src/core/clock.ts'
import { CodedError } from '../../src/core/errors.ts'
import type { FeatureSpec } from '../../src/core/feature-spec.ts'
import { Generation, RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { ManifestWriter, readRefManifest } from '../../src/refs/manifest.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { exampleContract } from '../../test/support/refs.ts'
import type { Damage, ManifestFiles, Target } from './corruption-kinds.ts'
import { filesBelow } from './files-below.ts'

/**
 * `not asked for`: the damage lies in bytes that this reader did not read, and what it read is right. Reading the whole
 * sample detects the damage.
 */
export type Outcome = 'detected' | 'not asked for' | 'harmless' | 'served wrong' | 'error without a code'
export const MODES = ['none', 'mac', 'seal'] as const
export type Mode = (typeof MODES)[number]

const TOKENS = 40
const ROWS = { start: 7, end: 21 }
const NAMES = ['loss_mask', 'hidden_state']
const about = { runId: RunId.parse('run'), numTokens: TOKENS, provenance: { from: 'a fault test' } }
const specs: FeatureSpec[] = [
  { name: 'input_ids', shape: [TOKENS], dtype: 'int64' },
  { name: 'loss_mask', shape: [TOKENS], dtype: 'int64' },
  { name: 'hidden_state', shape: [TOKENS, 16], dtype: 'bfloat16' },
  { name: 'aux_hidden_state', shape: [TOKENS, 48], dtype: 'bfloat16' },
]
/** The ways in which a sample is read: all of it, some tensors, some rows, some rows of some tensors. */
export const readings = [{}, { names: NAMES }, { rows: ROWS }, { names: NAMES, rows: ROWS }] as const

interface Sample extends Target {
  readonly ref: SampleRef
  /** For each reading, the digests of what a reader must get. */
  readonly truth: readonly Readonly<Record<string, string>>[]
}

/** A store of equal-shaped samples, each put twice, and a manifest of two segments; both can be damaged and restored. */
export class CorruptedStore implements AsyncDisposable {
  readonly samples: readonly Sample[]
  readonly manifest: ManifestFiles
  readonly #python: Python
  readonly #store: FeatureStore
  readonly #published: unknown

  private constructor(
    python: Python,
    store: FeatureStore,
    made: { samples: readonly Sample[]; manifest: ManifestFiles; published: unknown },
  ) {
    this.#python = python
    this.#store = store
    this.samples = made.samples
    this.manifest = made.manifest
    this.#published = made.published
  }

  static async make(python: Python, dir: string, mode: Mode, count: number): Promise<CorruptedStore> {
    const root = path.join(dir, 'store')
    const keyFile = path.join(dir, 'key')
    await writeFile(keyFile, createHash('sha256').update('a key for fault tests').digest('hex'), { mode: 0o600 })
    const auth = mode === 'none' ? { mode } : { mode, keyFile }
    const store = await sharedDirFeatureStore({ python, root, retain: true, auth, durability: 'fast' })
    const samples: Sample[] = []
    for (let index = 0; index < count; index++) samples.push(await sampleIn(python, store, root, index))
    const manifest = await manifestOf(store, samples, path.join(dir, 'manifest'))
    return new CorruptedStore(python, store, { samples, manifest, published: await publishedIn(store, manifest) })
  }

  /** What a reader gets while `damage` lies on disk. `generation`: how many puts later the generation is that the ref names. */
  async read(sample: Sample, damage: Damage, reading: number, generation: number): Promise<Outcome> {
    const ref = { ...sample.ref, generation: Generation.parse(sample.ref.generation + generation) }
    return await this.#while(damage, async () => {
      await using lease = await this.#store.get(ref, readings[reading])
      const { digests } = await this.#python.call('tensor.digest', { handle: lease.tensors.handle })
      return generation === 0 && isDeepStrictEqual(digests, sample.truth[reading])
    })
  }

  async readManifest(damage: Damage): Promise<Outcome> {
    return await this.#while(damage, async () =>
      isDeepStrictEqual(await publishedIn(this.#store, this.manifest), this.#published),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close()
  }

  async #while(damage: Damage, serves: () => Promise<boolean>): Promise<Outcome> {
    for (const [file, bytes] of damage) await writeFile(file, bytes)
    try {
      return (await serves()) ? 'harmless' : 'served wrong'
    } catch (error) {
      return error instanceof CodedError ? 'detected' : 'error without a code'
    } finally {
      for (const file of damage.keys()) await this.#restore(file)
    }
  }

  async #restore(file: string): Promise<void> {
    const whole = this.samples.find((sample) => sample.file === file)?.bytes ?? this.manifest.bytes.get(file)
    if (whole === undefined) await rm(file)
    else await writeFile(file, whole)
  }
}

async function sampleIn(python: Python, store: FeatureStore, root: string, index: number): Promise<Sample> {
  const id = SampleId.parse(`run:${String(index).padStart(8, '0')}`)
  const put = async (seed: number): Promise<SampleRef> => {
    await using tensors = new TensorSet(python, await python.call('tensor.synthesize', { seed, features: specs }))
    return await store.put(id, tensors, about)
  }
  const fileOf = async (): Promise<string> => {
    const objects = path.join(root, 'objects')
    return path.join(objects, (await filesBelow(objects)).find((name) => name.includes(`${id}.`)) ?? id)
  }
  await put(2 * index)
  const kept = path.join(root, '..', 'stale')
  await copyFile(await fileOf(), kept)
  const ref = await put(2 * index + 1)
  const file = await fileOf()
  const bytes = await readFile(file)
  const data = 8 + Number(bytes.readBigUInt64LE(0))
  const text = 8 + bytes.toString('latin1', 8, data).trimEnd().length
  const truth = []
  for (const reading of readings) {
    await using lease = await store.get(ref, reading)
    truth.push((await python.call('tensor.digest', { handle: lease.tensors.handle })).digests)
  }
  const laterFile = file.replace(`.${ref.generation}.`, `.${ref.generation + 1}.`)
  return { ref, file, bytes, text, data, truth, laterFile, stale: await readFile(kept) }
}

async function manifestOf(store: FeatureStore, samples: readonly Sample[], dir: string): Promise<ManifestFiles> {
  const given = {
    dir,
    runId: about.runId,
    storeId: store.id,
    contract: exampleContract,
    clock: systemClock,
    key: store.key,
  }
  const refs = samples.map((sample) => sample.ref)
  {
    await using writer = await ManifestWriter.open(given)
    for (const [index, ref] of refs.entries()) {
      writer.append(ref)
      if (index === refs.length / 2) await writer.flush()
    }
    await writer.complete([[7, 2]])
  }
  const names = (await filesBelow(dir)).filter((name) => /^(manifest\.json|segment-.*)$/.test(name))
  const files = names.map((name) => path.join(dir, name))
  const bytes = new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)))
  const segments = files.filter((file) => file.includes('segment-'))
  if (segments.length < 2) throw new Error(`a manifest of ${names.join(', ')}`)
  return { root: path.join(dir, 'manifest.json'), segments, bytes }
}

/** All that a consumer reads from a manifest. */
async function publishedIn(store: FeatureStore, { root }: ManifestFiles): Promise<unknown> {
  const manifest = await readRefManifest({ dir: path.dirname(root), storeId: store.id, key: store.key })
  const { runId, storeId, contract } = manifest
  return { runId, storeId, contract, refs: [...manifest.refs] }
}
