import { realpath } from 'node:fs/promises'
import type { OpInput } from '../../bridge/ops.ts'
import type { Python } from '../../bridge/python.ts'
import { type Owned, TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding, hasCode, isErrno } from '../../core/errors.ts'
import { type RunId, SampleId } from '../../core/ids.ts'
import { type Part, shareOf, takes } from '../../core/part.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { CaptureContract, type TargetShape } from '../../core/target-contract.ts'
import { type DraftArchitecture, layersIn } from '../../drafts/architecture.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { inputsText } from '../../refs/root/inputs.ts'
import { sha256 } from '../../refs/sha256.ts'
import type { ExternFile } from '../../store/blobs/blobs.ts'
import { auxLayersOf } from '../train/draft-config-file.ts'
import type { FeatureFile } from './feature-files.ts'
import { atOrigin, type FeatureSource, type IsKnown, type SourceItem, type SourcePlan } from './feature-source.ts'
import { type FeatureSurvey, foundEvent, openMasks, surveyFeatures } from './feature-survey.ts'
import { itemsUnderWay, nextOf } from './items-under-way.ts'

/** Limits of concurrent loads. The weight is in bytes: about three long samples of a 7B target. */
const LOAD_LIMITS = { tasks: 16, weight: 192 * 2 ** 20 }

/**
 * The link modes that each value of `features.link` allows, best first. `auto` excludes references, because the store
 * then depends on files that the user may change or delete.
 */
const LINKS: Record<RunConfig['features']['link'], Pick<ExternFile, 'link' | 'orCopy'>> = {
  auto: { link: ['reflink', 'hardlink'], orCopy: true },
  reflink: { link: ['reflink'], orCopy: false },
  hardlink: { link: ['hardlink'], orCopy: false },
  reference: { link: ['reference'], orCopy: false },
  copy: { link: [], orCopy: true },
}

/** The plan to ingest feature files that another program wrote, one sample per file. */
export async function planIngest(config: RunConfig, python: Python, part: Part | null): Promise<SourcePlan> {
  const { features, data } = config
  if (features.files === null) {
    throw finding('CONFIG_INVALID', 'there are no feature files to ingest', {
      field: 'features.files',
      found: 'null',
      fix: 'name a folder or a pattern such as "features/**/*.ckpt*"',
    })
  }
  const input = await surveyFeatures(features.files, features, python)
  const { files, layout } = input
  // Sample ids are positions in the sorted list of names, so the list must not change. A repaired file has the same
  // name and another size: only its sample is ingested again.
  const names = sha256(JSON.stringify(files.map(({ name }) => name)))
  const inputs = inputsText({
    'features.files': names,
    'data.maxLength': data.maxLength,
    ...(layout === 'specforge' ? {} : { 'features.layout': layout }),
    ...(features.finalNorm === 'auto' ? {} : { 'features.finalNorm': features.finalNorm }),
    ...(input.masks === null ? {} : { 'features.masks': input.masks.digest }),
  })
  const sizes = new Map(files.map(({ bytes }, index) => [fileSampleId(config.run.id, index), bytes]))
  const isCurrent = (ref: SampleRef) => ref.sourceBytes === sizes.get(ref.sampleId)
  const open = () => IngestSource.open({ config, python, part }, input)
  return { inputs, total: shareOf(part, files.length), isCurrent, found: foundEvent(input), open }
}

/** How each file is read, as `ckpt.load` wants it. */
type Form = Pick<OpInput<'ckpt.load'>, 'layers' | 'layout' | 'final' | 'masks'>

/**
 * A feature file does not record its layers. So they are assumed to be those that `draft.config` names, or else the
 * default layers of the architecture. The dtype is that of the first file.
 */
async function contractOf(
  { target, data }: RunConfig,
  python: Python,
  { files, finalNorm }: FeatureSurvey,
  { shape, hash, auxLayers, form }: { shape: TargetShape; hash: string; auxLayers: readonly number[]; form: Form },
): Promise<CaptureContract> {
  const load = (file: FeatureFile) => python.call('ckpt.load', { path: file.path, maxLength: data.maxLength, ...form })
  await using tensors = new TensorSet(python, (await firstGood(files, load)).set)
  const states = tensors.features.filter(({ name }) => name in form.layers)
  return CaptureContract.parse({
    target: target.model,
    targetHash: hash,
    shape,
    auxLayers,
    layerConvention: 'output',
    finalNorm,
    dtype: states[0]?.dtype,
    maskRule: 'from-file',
    tokenizerHash: null,
    templateHash: null,
  })
}

/** What `load` gives for the first file that is not bad. @throws what the first one was refused for, when all are bad. */
async function firstGood<T>(files: readonly FeatureFile[], load: (file: FeatureFile) => Promise<T>): Promise<T> {
  let first: unknown = new Error('the plan of an ingest has no file')
  for (const [index, file] of files.entries()) {
    try {
      return await load(file)
    } catch (error) {
      if (!hasCode(error, 'FEATURE_INVALID')) throw error
      if (index === 0) first = error
    }
  }
  throw first
}

interface IngestOptions {
  readonly config: RunConfig
  readonly python: Python
  readonly part: Part | null
}

class IngestSource implements FeatureSource {
  readonly contract: CaptureContract
  readonly #given: IngestOptions
  readonly #files: readonly FeatureFile[]
  readonly #form: Form
  readonly #masks: Owned | null

  private constructor(
    given: IngestOptions,
    files: readonly FeatureFile[],
    { contract, form, masks }: { contract: CaptureContract; form: Form; masks: Owned | null },
  ) {
    this.contract = contract
    this.#given = given
    this.#files = files
    this.#form = form
    this.#masks = masks
  }

  static async open(given: IngestOptions, input: FeatureSurvey): Promise<IngestSource> {
    const { config, python } = given
    const { shape, hash } = await python.call('target.describe', { model: config.target.model })
    const architecture = architectureOf(config.draft.architecture)
    const auxLayers = await auxLayersOf(config.draft, shape)
    const masks = await openMasks(input.masks, python)
    try {
      const final = architecture.states.find(({ source }) => source === 'final')?.name ?? null
      const layers = layersByState(architecture, auxLayers)
      const form = { layers, layout: input.layout, final, masks: masks?.handle ?? null }
      const contract = await contractOf(config, python, input, { shape, hash, auxLayers, form })
      return new IngestSource(given, input.files, { contract, form, masks })
    } catch (error) {
      await masks?.[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#masks?.[Symbol.asyncDispose]()
  }

  async *items(isKnown: IsKnown): AsyncGenerator<SourceItem> {
    const loads = itemsUnderWay(LOAD_LIMITS)
    try {
      for (const [index, file] of this.#files.entries()) {
        if (!takes(this.#given.part, index)) continue
        while (!loads.canBegin(file.bytes)) yield* nextOf(loads)
        loads.begin(file.bytes, () => this.#item(file, index, isKnown))
      }
      while (!loads.isEmpty) yield* nextOf(loads)
    } finally {
      await loads.abandon()
    }
  }

  async #item(file: FeatureFile, index: number, isKnown: IsKnown): Promise<SourceItem> {
    try {
      return await this.#loaded(file, index, isKnown)
    } catch (error) {
      const refused = isErrno(error, 'ENOENT', 'ELOOP', 'EACCES') ? unreachable(file.path, error) : error
      if (!hasCode(refused, 'FEATURE_INVALID')) throw error
      return { kind: 'refused', error: atOrigin(refused, file.path) }
    }
  }

  async #loaded(file: FeatureFile, index: number, isKnown: IsKnown): Promise<SourceItem> {
    const { config, python } = this.#given
    const { run, data, features } = config
    const sampleId = fileSampleId(run.id, index)
    if (await isKnown(sampleId, { order: index })) return { kind: 'known' }
    const inPlace = features.link !== 'copy'
    // The store keeps this path, so symbolic links are resolved: their target may change later.
    const realFile = inPlace ? await realpath(file.path) : file.path
    const wanted = { maxLength: data.maxLength, ...this.#form, inPlace }
    const loaded = await python.call('ckpt.load', { path: realFile, ...wanted })
    const tensors = new TensorSet(python, loaded.set)
    try {
      requireSpec(file.path, tensors, this.contract, this.#form.layers)
    } catch (error) {
      await tensors[Symbol.asyncDispose]()
      throw error
    }
    const { numTokens, lossTokens, truncated } = loaded
    if (lossTokens === 0) {
      await tensors[Symbol.asyncDispose]()
      return { kind: 'empty', truncated, where: file.path }
    }
    const facts = { trainedTokens: lossTokens, truncated, sourceBytes: file.bytes, order: index }
    const provenance = { from: file.path.slice(-1000) }
    const { extern, copied } = loaded
    return {
      kind: 'sample',
      ...{ sampleId, origin: file.path, tensors, numTokens, facts, provenance },
      ...(extern === null ? {} : { extern: { ...extern, file: realFile, ...LINKS[features.link] } }),
      ...(copied === null ? {} : { copied }),
    }
  }
}

const unreachable = (file: string, cause: NodeJS.ErrnoException) =>
  finding(
    'FEATURE_INVALID',
    'the feature file cannot be read',
    { file, found: cause.message, fix: 'remove it or make it readable; if it is a link, check that its target exists' },
    { cause },
  )

/** The position in the sorted list of files, as in the reference implementation (SpecForge). */
const fileSampleId = (runId: RunId, index: number): SampleId =>
  SampleId.parse(`${runId}:${String(index).padStart(8, '0')}`)

const layersByState = (architecture: DraftArchitecture, auxLayers: readonly number[]): Record<string, number> =>
  Object.fromEntries(architecture.states.map((state) => [state.name, layersIn(state, auxLayers)]))

/** One state is enough: the load has checked that the file's states fit each other. */
function requireSpec(
  file: string,
  tensors: TensorSet,
  { shape, dtype }: CaptureContract,
  layers: Readonly<Record<string, number>>,
): void {
  const state = tensors.features.find(({ name }) => name in layers)
  const expected = shape.hiddenSize * (layers[state?.name ?? ''] ?? 1)
  const width = state?.shape[1]
  if (width === expected && state?.dtype === dtype) return
  const wrongWidth = width !== expected
  throw finding('SPEC_MISMATCH', wrongWidth ? 'the features are of another target' : 'the features differ in dtype', {
    file,
    field: state?.name ?? 'states',
    found: wrongWidth
      ? `width ${width ?? 'unknown'}; the target's is ${expected}`
      : `${state?.dtype ?? 'nothing'}; the first file has ${dtype}`,
    fix: wrongWidth
      ? 'set target.model to the model that the features were captured from'
      : 'ingest the files of each dtype in a run of their own',
  })
}
