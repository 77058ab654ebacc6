/** A second producer, as a process: `node --import tsx put-repeatedly.ts ROOT COUNT`. Prints its refs as JSON. */
import { RunId, SampleId } from '../../src/core/ids.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { python, sampleSpecs, synthesize } from './tensors.ts'

const [root = '', count = '0'] = process.argv.slice(2)
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }
const store = await sharedDirFeatureStore({ python, root, retain: true })
const refs = []
for (let index = 0; index < Number(count); index++) {
  await using source = await synthesize(1000 + index, sampleSpecs(6))
  refs.push(await store.put(SampleId.parse('contended'), source, about))
}
await store.close()
process.stdout.write(JSON.stringify(refs))
