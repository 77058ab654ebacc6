import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import type { ShownSamples } from '../../../src/core/data-health.ts'
import { readManifestSoFar } from '../../../src/refs/manifest.ts'
import { runHealth } from '../../../src/roles/health/run-health.ts'
import { inspectManifest, type WantedSamples } from '../../../src/roles/maintain/inspect-manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { objectFile } from '../../support/filled-store.ts'
import { keyFile } from '../../support/key-files.ts'
import { listing, producing } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()

const COUNT = 30
const answer = (index: number) => `yes ${index}, <script>日本</script>`

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
})

async function captured(store: object = {}): Promise<RunConfig> {
  const dir = await tempDir()
  const file = path.join(dir, 'talks.jsonl')
  const lines = Array.from({ length: COUNT }, (_, index) => ({
    id: `talk-${index}`,
    messages: [
      { role: 'user', content: `q${index}` },
      { role: 'assistant', content: answer(index) },
      { role: 'user', content: 'and?' },
      { role: 'assistant', content: 'no' },
    ],
  }))
  await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  const config = producing(inputs, dir, {
    data: { conversations: file, maxLength: 200 },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast', ...store },
    manifest: path.join(dir, 'store', 'manifest'),
  })
  await produce(config, watched())
  return config
}

const wanted: WantedSamples = { count: 5, seed: 0, store: null, tokenizer: null }
const show = async (config: RunConfig, more: Partial<WantedSamples> = {}): Promise<ShownSamples> => {
  const { health } = await inspectManifest(config.manifest, 0, { ...wanted, ...more })
  return health.shown ?? expect.fail('no samples')
}
const ids = ({ samples }: ShownSamples) => samples.map(({ sampleId }) => sampleId)

describe('samples as text', () => {
  it('have the trained tokens marked: what the assistant says, to the end of each turn', async () => {
    const config = await captured()
    const { samples, missing } = await show(config, { count: COUNT })
    expect(missing).toBeNull()
    expect(samples).toHaveLength(COUNT)
    for (const { sampleId, parts, more, from, trained } of samples) {
      const index = Number(sampleId.split('-')[1])
      expect(from).toContain(`talks.jsonl:${index + 1}`)
      expect(more).toBe(0)
      expect(parts).toEqual([
        { text: `<|im_start|>user\nq${index}<|im_end|>\n<|im_start|>assistant\n`, trained: false },
        { text: `${answer(index)}<|im_end|>\n`, trained: true },
        { text: '<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\n', trained: false },
        { text: 'no<|im_end|>\n', trained: true },
      ])
      // One token a byte, and two special ones; the last token is marked, and no row predicts it.
      expect(trained).toBe(Buffer.byteLength(answer(index)) + 2 + 'no'.length + 2 - 1)
    }
  })

  it('are the same for the same seed and others for another one', async () => {
    const config = await captured()
    const [one, again, other] = [await show(config), await show(config), await show(config, { seed: 1 })]
    expect(again).toEqual(one)
    expect(new Set(ids(one)).size).toBe(5)
    expect(ids(other)).not.toEqual(ids(one))
  })

  it('that are not stored any more, or are damaged, are counted, and the others shown', async () => {
    const config = await captured()
    const { refs } = await readManifestSoFar({ dir: config.manifest })
    const chosen = ids(await show(config))
    const [gone, bad] = [...refs].filter(({ sampleId }) => chosen.includes(sampleId))
    if (gone === undefined || bad === undefined) throw new Error('no refs')
    await rm(await objectFile(config.store.root, gone))
    const file = await objectFile(config.store.root, bad)
    const bytes = await readFile(file)
    // The first byte of the data: input_ids lie first.
    bytes[4096] = (bytes[4096] ?? 0) ^ 1
    await writeFile(file, bytes)
    const { samples, missing } = await show(config)
    expect(missing).toBe('2 of 5 samples are not in the store, or are damaged there')
    expect(samples.map(({ sampleId }) => sampleId)).toEqual(
      chosen.filter((id) => id !== gone.sampleId && id !== bad.sampleId),
    )
  })

  it('are not shown without their store or their tokenizer, and the reason is one line', async () => {
    const config = await captured()
    const absent = path.join(inputs, 'absent')
    const { missing: noTokenizer } = await show(config, { tokenizer: absent })
    expect(noTokenizer).toContain(absent)
    const elsewhere = { store: { root: absent, config: null, keyFile: null } }
    const { missing: noStore } = await show(config, elsewhere)
    expect(noStore).toMatch(/store/)
    for (const text of [noTokenizer, noStore]) expect(text).not.toContain('\n')
  })

  it('are not spelled with another tokenizer than the one that made them', async () => {
    const config = await captured()
    const other = await tempDir()
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
      const text = await readFile(path.join(config.target.model, name), 'utf8')
      // Two letters change places: every text would look almost right.
      await writeFile(
        path.join(other, name),
        text.replace('"a": ', '"?": ').replace('"b": ', '"a": ').replace('"?": ', '"b": '),
      )
    }
    const { samples, missing } = await show(config, { tokenizer: other })
    expect([samples.length, missing]).toEqual([0, `the tokenizer of ${other} is not the one that made the samples`])
  })

  it('of a keyed store need its key, which also checks the manifest', async () => {
    const key = await keyFile()
    const config = await captured({ auth: { mode: 'mac', keyFile: key } })
    const given = (file: string) => ({ store: { root: config.store.root, config: null, keyFile: file } })
    expect((await show(config, given(key))).samples).toHaveLength(5)
    await expect(show(config, given(await keyFile(2)))).rejects.toMatchObject({ code: 'STORE_AUTH' })
    const root = path.join(config.manifest, 'manifest.json')
    await writeFile(root, (await readFile(root, 'utf8')).replace('"heartbeat": 1', '"heartbeat": 2'))
    await expect(show(config, given(key))).rejects.toMatchObject({ code: 'STORE_AUTH' })
  })
})

describe('the health that a report shows', () => {
  const withSamples = { samples: true, keptOnly: false }

  it('has ten samples, is kept beside the report, and is made again for another manifest', async () => {
    const config = await captured()
    const run = { ...config, run: { ...config.run, dir: await tempDir() } }
    const health = await runHealth(run, withSamples)
    if (health === null || typeof health === 'string') throw new Error(`no health: ${health}`)
    expect(health.shown?.samples).toHaveLength(10)
    expect(await runHealth(run, { samples: true, keptOnly: true })).toEqual(health)
    // What is kept serves also where the store is gone, and only for this manifest.
    await rm(path.join(run.store.root, 'objects'), { recursive: true })
    expect(await runHealth(run, withSamples)).toEqual(health)
    const other = await captured()
    const moved = await runHealth({ ...run, manifest: other.manifest, store: other.store }, withSamples)
    expect(moved).toMatchObject({ samples: COUNT })
    expect(moved).not.toEqual(health)
  })

  it('has no samples when nobody wants them, also none that were kept', async () => {
    const config = await captured()
    const run = { ...config, run: { ...config.run, dir: await tempDir() } }
    await runHealth(run, withSamples)
    expect(await runHealth(run, { samples: false, keptOnly: false })).toMatchObject({ shown: null, samples: COUNT })
    expect(await runHealth(run, { samples: false, keptOnly: true })).toMatchObject({ shown: null, samples: COUNT })
  })

  it('has none of a sealed store, whose texts are on no disk in plain', async () => {
    const auth = { mode: 'seal', keyFile: await keyFile() }
    const config = await captured({ auth })
    const run = { ...config, run: { ...config.run, dir: await tempDir() } }
    expect(await runHealth(run, withSamples)).toMatchObject({
      shown: { samples: [], missing: expect.stringContaining('the store is sealed') },
    })
    expect(await readFile(path.join(run.run.dir, 'data-health.json'), 'utf8')).not.toContain('script')
    expect((await listing(config.store.root)).length).toBe(COUNT)
  })

  it('is null without a manifest, and says why one cannot be read', async () => {
    const config = await captured()
    const run = { ...config, run: { ...config.run, dir: await tempDir() } }
    expect(await runHealth({ ...run, manifest: path.join(inputs, 'absent') }, withSamples)).toBeNull()
    await writeFile(path.join(config.manifest, 'manifest.json'), '{}')
    expect(await runHealth(run, withSamples)).toContain('this is no draftbridge manifest')
  })
})
