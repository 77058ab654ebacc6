/** `node --import tsx put-and-get.ts ROOT COUNT`: puts a sample, then COUNT more and reads each. For a tracer to watch. */
import { RunId, SampleId } from '../../src/core/ids.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { python, sampleSpecs, synthesize } from './tensors.ts'

const [root = '', count = '0'] = process.argv.slice(2)
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }
try {
  const store = await sharedDirFeatureStore({ python, root, retain: true })
  for (let index = 0; index <= Number(count); index++) {
    await using source = await synthesize(index, sampleSpecs(6))
    const ref = await store.put(SampleId.parse(`s${index}`), source, about)
    await using _lease = await store.get(ref)
  }
  await store.close()
} catch (error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code'
  process.stderr.write(`${code} ${String(error)}\n`)
  process.exit(1)
}
