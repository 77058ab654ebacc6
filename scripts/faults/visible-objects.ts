import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { FeatureSpec, specBytes } from '../../src/core/feature-spec.ts'
import { SampleRef, SCHEMA_VERSION } from '../../src/core/sample-ref.ts'
import { filesBelow } from './files-below.ts'

const DTYPES: Readonly<Record<string, string>> = { I64: 'int64', F32: 'float32', BF16: 'bfloat16' }
const Tensor = z.object({ dtype: z.string(), shape: z.array(z.number()) })
const Extern = z.object({ tensors: z.record(z.string(), Tensor) })

/**
 * The ref of every visible object, read from the object's own header: a put that was killed never returned its ref.
 * Throws when a header is not whole.
 */
export async function visibleRefs(store: string): Promise<readonly SampleRef[]> {
  const objects = path.join(store, 'objects')
  return Promise.all((await filesBelow(objects)).map((name) => refOf(path.join(objects, name))))
}

async function refOf(file: string): Promise<SampleRef> {
  const bytes = await readFile(file)
  const { __metadata__, ...rest } = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))))
  const metadata = z.record(z.string(), z.string()).parse(__metadata__)
  const externTensors = Extern.parse(JSON.parse(metadata['extern'] ?? '{"tensors":{}}')).tensors
  const tensors = Object.entries({ ...z.record(z.string(), Tensor).parse(rest), ...externTensors })
  const features = tensors.map(([name, { dtype, shape }]) => {
    return FeatureSpec.parse({ name, shape, dtype: DTYPES[dtype] ?? dtype })
  })
  const digests = Object.entries(metadata).filter(([key]) => key.startsWith('digest.'))
  const ref = SampleRef.parse({
    schemaVersion: SCHEMA_VERSION,
    runId: metadata['run_id'],
    sampleId: metadata['sample_id'],
    storeId: metadata['store_id'],
    generation: Number(metadata['generation']),
    features,
    digests: Object.fromEntries(digests.map(([key, digest]) => [key.slice('digest.'.length), digest])),
    numTokens: 6,
    bytes: features.reduce((sum, spec) => sum + specBytes(spec), 0),
    provenance: {},
  })
  const name = `${ref.sampleId}.${ref.generation}.safetensors`
  if (path.basename(file) !== name) throw new Error(`an object named ${path.basename(file)} says it is ${name}`)
  return ref
}
