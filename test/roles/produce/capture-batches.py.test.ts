import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Owned } from '../../../src/bridge/tensor-set.ts'
import { surveyConversations } from '../../../src/roles/conversations/read-conversations.ts'
import { CaptureSource } from '../../../src/roles/produce/capture-source.ts'
import type { SourceItem } from '../../../src/roles/produce/feature-source.ts'
import { producing } from '../../support/producing.ts'
import { checkHandlesAfterEach, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingInputs } from '../../support/training.ts'

checkHandlesAfterEach()

let inputs = ''
let file = ''
const COUNT = 40

beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
  file = path.join(inputs, 'talks.jsonl')
  const talk = (at: number) => ({
    id: `talk-${at}`,
    input_ids: Array.from({ length: 3 + ((at * 7) % 29) }, (_, token) => 1 + ((at + token) % 300)),
    loss_start: 1,
  })
  const lines = Array.from({ length: COUNT }, (_, at) => JSON.stringify(at === 11 ? { messages: 3 } : talk(at)))
  await writeFile(file, `${lines.join('\n')}\n`)
})

interface Seen {
  readonly id: string
  readonly digests: Readonly<Record<string, string>>
}

/** What a source gives, with the digests of the tensors; each set is freed when the next item is asked for. */
async function captured(batchTokens: number, overlap: boolean, stopAfter = Number.POSITIVE_INFINITY) {
  const config = producing(inputs, inputs, { data: { conversations: file, maxLength: 50 } })
  const { target, data, draft } = config
  const bridge = python
  const opened = await bridge.call('capture.open', { target, data, draft, auxLayers: [1, 3, 4], threads: 0 })
  const session = new Owned(bridge, opened.handle)
  const reading = { runId: config.run.id, limit: null, part: null }
  const { sha256 } = await surveyConversations([file], reading, () => undefined)
  const given = { config, files: [file], python: bridge, part: null, sha256, batchTokens, overlap }
  await using source = new CaptureSource(given, session, opened.contract)
  const samples: Seen[] = []
  const others: SourceItem[] = []
  for await (const item of source.items(() => Promise.resolve(false))) {
    if (item.kind !== 'sample') others.push(item)
    else {
      await using tensors = item.tensors
      const { digests } = await bridge.call('tensor.digest', { handle: tensors.handle })
      samples.push({ id: item.sampleId, digests })
    }
    if (samples.length === stopAfter) break
  }
  return { samples, others }
}

const byId = (samples: readonly Seen[]) => new Map(samples.map(({ id, digests }) => [id, digests]))

describe('a capture in batches', () => {
  it('gives each sample the tokens that it has alone, whichever samples share its batch', async () => {
    const alone = await captured(1, false)
    const together = await captured(64, true)
    expect(alone.samples).toHaveLength(COUNT - 1)
    expect(together.samples.map(({ id }) => id).toSorted()).toEqual(alone.samples.map(({ id }) => id).toSorted())
    expect(together.samples.map(({ id }) => id)).not.toEqual(alone.samples.map(({ id }) => id))
    const tokens = ({ digests }: Seen) => [digests['input_ids'], digests['loss_mask']]
    const found = byId(together.samples)
    for (const one of alone.samples)
      expect(tokens({ id: one.id, digests: found.get(one.id) ?? {} })).toEqual(tokens(one))
    expect(together.others).toHaveLength(1)
    expect(together.others[0]).toMatchObject({ kind: 'refused', error: { details: { file: `${file}:12` } } })
  })

  it('gives the same bits whether or not the next batch is begun before one is collected', async () => {
    const [inTurn, overlapped] = [await captured(64, false), await captured(64, true)]
    expect(overlapped.samples).toEqual(inTurn.samples)
  })

  it('keeps nothing when its reader stops, with a batch under way and samples that wait', async () => {
    const { samples } = await captured(64, true, 3)
    expect(samples).toHaveLength(3)
  })
})
