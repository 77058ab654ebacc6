// How fast conversations are read and encoded, and whether the memory stays flat: everything of a capture but the target.
// Usage: npm run bench:conversations [-- --count N] [--words N] [--target DIR_OR_GGUF] [--record [--name NAME]]
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { findTarget } from '../../examples/quickstart/quickstart-state.ts'
import { embedPython } from '../../src/bridge/python.ts'
import { Owned } from '../../src/bridge/tensor-set.ts'
import { RunConfig } from '../../src/config/schema.ts'
import { surveyConversations } from '../../src/roles/conversations/read-conversations.ts'
import { EncodedConversations } from '../../src/roles/produce/encoded-conversations.ts'
import { checkout } from '../results/checkout.ts'
import { Recorder, recordOptions } from '../results/recorder.ts'
import { makeConversations } from './make-conversations.ts'
import { scratchFolder } from './scratch-folder.ts'

const { values } = parseArgs({
  options: {
    ...recordOptions,
    count: { type: 'string', default: '20000' },
    words: { type: 'string', default: '80' },
    target: { type: 'string' },
  },
})

const count = Number(values.count)
const rss = (): number => process.memoryUsage().rss / 2 ** 20
await using scratch = await scratchFolder(tmpdir())
const file = path.join(scratch.dir, 'conversations.jsonl')
await makeConversations(file, count, Number(values.words))
const config = RunConfig.parse({
  version: 1,
  target: { model: values.target ?? (await findTarget(checkout)), dtype: 'float32' },
  data: { conversations: file },
})
const python = await embedPython()
const { target, data, draft } = config
const { handle } = await python.call('capture.open', { target, data, draft, auxLayers: [1], threads: 1 })
await using session = new Owned(python, handle)
const before = rss()

const surveyed = performance.now()
const { sha256 } = await surveyConversations([file], { runId: config.run.id, limit: null, part: null }, (error) => {
  throw error
})
const surveySeconds = (performance.now() - surveyed) / 1000
const afterSurvey = rss()

const begun = performance.now()
const reader = new EncodedConversations({ config, files: [file], python, part: null, sha256, session: session.handle })
let [done, tokens, most, early] = [0, 0, 0, 0]
for await (const item of reader.items(() => Promise.resolve(false))) {
  if (item.kind !== 'encoded') continue
  done += 1
  tokens += item.about.numTokens
  await item.tokens[Symbol.asyncDispose]()
  if (done % 1000 === 0) most = Math.max(most, rss())
  if (done === Math.ceil(count / 10)) early = rss()
}
const seconds = (performance.now() - begun) / 1000

const recorder = new Recorder({
  title: 'Reading and encoding conversations',
  ...values,
  name: values.name ?? 'conversations',
})
const table = recorder.table(`${count} conversations, ${Math.round(tokens / done)} tokens each, one process`, ['', ''])
const mib = (value: number): string => `${value.toFixed(0)} MiB`
table.row('read and checked once, before the target runs', `${(count / surveySeconds).toFixed(0)} a second`)
table.row('read, rendered, tokenized, mask proved', `${(done / seconds).toFixed(0)} a second`)
table.row('tokens', `${(tokens / seconds / 1000).toFixed(0)}k a second`)
table.row('memory before (torch, transformers, target)', mib(before))
table.row('more after the first reading', mib(afterSurvey - before))
table.row('more after a tenth', mib(early - before))
table.row('more at most', mib(most - before))
await recorder.write()
