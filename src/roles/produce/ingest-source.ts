import { realpath } from 'node:fs/promises'
import type { Python } from '../../bridge/python.ts'
import { TensorSet } from '../../bridge/tensor-set.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import { type RunId, SampleId } from '../../core/ids.ts'
import { InOrder } from '../../core/in-order.ts'
import type { SampleRef } from '../../core/sample-ref.ts'
import { CaptureContract } from '../../core/target-contract.ts'
import { architectureOf } from '../../drafts/registry.ts'
import { inputsText } from '../../refs/root/inputs.ts'
import { sha256 } from '../../refs/sha256.ts'
import type { ExternFile } from '../../store/blobs/blobs.ts'
import { type FeatureFile, findFeatureFiles } from './feature-files.ts'
import type { FeatureSource, IsKnown, SourceItem, SourcePlan } from './feature-source.ts'

/** Files that are loaded ahead. In bytes it is three long samples of a 7B target. */
const AHEAD = { tasks: 16, weight: 192 * 2 ** 20 }

/** What each setting allows, best first. A reference is never chosen for the user: it leaves the data in a foreign hand. */
const LINKS: Record<RunConfig['features']['link'], Pick<ExternFile, 'link' | 'orCopy'>> = {
  auto: { link: ['reflink', 'hardlink'], orCopy: true },
  reflink: { link: ['reflink'], orCopy: false },
  hardlink: { link: ['hardlink'], orCopy: false },
  reference: { link: ['reference'], orCopy: false },
  copy: { link: [], orCopy: true },
}

/** Features that another program made, one sample a file. */
export async function planIngest(config: RunConfig, python: Python): Promise<SourcePlan> {
  const { features, data } = config
  if (features.files === null) {
    throw finding('CONFIG_INVALID', 'there are no feature files to take in', {
      field: 'features.files',
      found: 'null',
      fix: 'name a folder or a pattern such as "features/**/*.ckpt*"',
    })
  }
  const files = await findFeatureFiles(features.files)
  // Ids follow the order of the names, so those must not change. A file that was repaired has its name and another
  // size: that sample alone is made again.
  const names = sha256(JSON.stringify(files.map(({ name }) => name)))
  const inputs = inputsText({ 'features.files': names, 'data.maxLength': data.maxLength })
  const sizes = new Map(files.map(({ bytes }, index) => [fileSampleId(config.run.id, index), bytes]))
  const isCurrent = (ref: SampleRef) => ref.sourceBytes === sizes.get(ref.sampleId)
  const open = async () => new IngestSource(config, python, files, await contractOf(config, python, files))
  return { inputs, total: files.length, isCurrent, open }
}

/** The files are taken to hold the architecture's usual layers, after the final norm; the dtype is that of the first file. */
async function contractOf(
  { target, data, draft }: RunConfig,
  python: Python,
  files: readonly FeatureFile[],
): Promise<CaptureContract> {
  const { shape, hash } = await python.call('target.describe', { model: target.model })
  const [first] = files
  if (first === undefined) throw new Error('a plan has at least one file')
  const peeked = await python.call('ckpt.load', { path: first.path, maxLength: data.maxLength })
  await using tensors = new TensorSet(python, peeked.set)
  return CaptureContract.parse({
    target: target.model,
    targetHash: hash,
    shape,
    auxLayers: architectureOf(draft.architecture).auxLayers(shape),
    layerConvention: 'output',
    finalNorm: 'post',
    dtype: tensors.features.find(({ name }) => name === 'hidden_state')?.dtype,
    maskRule: 'from-file',
    tokenizerHash: null,
    templateHash: null,
  })
}

class IngestSource implements FeatureSource {
  readonly contract: CaptureContract
  readonly #config: RunConfig
  readonly #python: Python
  readonly #files: readonly FeatureFile[]

  constructor(config: RunConfig, python: Python, files: readonly FeatureFile[], contract: CaptureContract) {
    this.contract = contract
    this.#config = config
    this.#python = python
    this.#files = files
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async *items(isKnown: IsKnown): AsyncGenerator<SourceItem> {
    const loads = new InOrder<SourceItem>(AHEAD, discard)
    try {
      for (const [index, file] of this.#files.entries()) {
        while (!loads.hasRoomFor(file.bytes)) yield* taken(loads)
        loads.begin(file.bytes, () => this.#item(file, index, isKnown))
      }
      while (!loads.isEmpty) yield* taken(loads)
    } finally {
      await loads.abandon()
    }
  }

  async #item(file: FeatureFile, index: number, isKnown: IsKnown): Promise<SourceItem> {
    const { run, data, features } = this.#config
    const sampleId = fileSampleId(run.id, index)
    if (await isKnown(sampleId)) return { kind: 'known' }
    const inPlace = features.link !== 'copy'
    // The store remembers where the file is: behind a link there might be another one tomorrow.
    const at = inPlace ? await realpath(file.path) : file.path
    const loaded = await this.#python.call('ckpt.load', { path: at, maxLength: data.maxLength, inPlace })
    const tensors = new TensorSet(this.#python, loaded.set)
    try {
      requireSpec(file.path, tensors, this.contract)
    } catch (error) {
      await tensors[Symbol.asyncDispose]()
      throw error
    }
    const { numTokens, lossTokens, truncated } = loaded
    if (lossTokens === 0) {
      await tensors[Symbol.asyncDispose]()
      return { kind: 'empty', truncated }
    }
    const facts = { trainedTokens: lossTokens, truncated, sourceBytes: file.bytes }
    const provenance = { from: file.path.slice(-1000) }
    const { extern, copied } = loaded
    return {
      kind: 'sample',
      ...{ sampleId, origin: file.path, tensors, numTokens, facts, provenance },
      ...(extern === null ? {} : { extern: { ...extern, file: at, ...LINKS[features.link] } }),
      ...(copied === null ? {} : { copied }),
    }
  }
}

async function* taken(loads: InOrder<SourceItem>): AsyncGenerator<SourceItem> {
  const item = await loads.next()
  if (item !== undefined) yield item.value
}

async function discard(item: SourceItem): Promise<void> {
  if (item.kind === 'sample') await item.tensors[Symbol.asyncDispose]()
}

/** As the reference names them: the place in the sorted list. */
const fileSampleId = (runId: RunId, index: number): SampleId =>
  SampleId.parse(`${runId}:${String(index).padStart(8, '0')}`)

function requireSpec(file: string, tensors: TensorSet, { shape, dtype }: CaptureContract): void {
  const hidden = tensors.features.find(({ name }) => name === 'hidden_state')
  const width = hidden?.shape[1]
  if (width === shape.hiddenSize && hidden?.dtype === dtype) return
  const wrongWidth = width !== shape.hiddenSize
  throw finding('SPEC_MISMATCH', wrongWidth ? 'these are features of another target' : 'the features differ in dtype', {
    file,
    field: 'hidden_state',
    found: wrongWidth
      ? `width ${width ?? 'unknown'}; the target's is ${shape.hiddenSize}`
      : `${hidden?.dtype ?? 'nothing'}; the first file has ${dtype}`,
    fix: wrongWidth
      ? 'name in target.model the model that the features were made with'
      : 'ingest files of one dtype at a time, each into a run of its own',
  })
}
