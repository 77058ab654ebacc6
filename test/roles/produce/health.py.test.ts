import { execFile } from 'node:child_process'
import { cp, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import type { ProducedHealth } from '../../../src/core/produced-health.ts'
import { readManifestSoFar } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { keyFile } from '../../support/key-files.ts'
import { finished, producing, stoppingAfter } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { pythonProgram, trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()
const run = promisify(execFile)

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
  const spoil = ['test/support/make_spoiled_target.py', path.join(inputs, 'target'), path.join(inputs, 'spoiled')]
  await run(pythonProgram, [...spoil, String(SPOILED)])
})

const MAX = 50
/** A token that the tokenizer never makes, and whose states are NaN in the spoiled target. */
const SPOILED = 300
const FOREIGN = 320

const talk = (user: string, assistant?: string) => ({
  messages: [
    { role: 'user', content: user },
    ...(assistant === undefined ? [] : [{ role: 'assistant', content: assistant }]),
  ],
})

interface Line {
  readonly kind: 'used' | 'repeat' | 'cut' | 'empty' | 'emptyCut' | 'noJson' | 'noMessages' | 'foreign' | 'notFinite'
  readonly text: string
}

/** A line of each kind in turn, and often the same again: what becomes of each is known when it is made. */
function generated(count: number): Line[] {
  const makers: ((index: number) => Line)[] = [
    (index) => ({ kind: 'used', text: JSON.stringify(talk('hi', `yo ${index}`)) }),
    (index) => ({ kind: 'used', text: JSON.stringify({ id: `mine ${index}`, ...talk('what?', `it ${index}`) }) }),
    (index) => ({ kind: 'repeat', text: JSON.stringify({ id: `other ${index}`, ...talk('hi', 'yo 0') }) }),
    () => ({ kind: 'repeat', text: JSON.stringify(talk('hi', 'yo 0')) }),
    (index) => ({ kind: 'cut', text: JSON.stringify(talk('q', `${index} ${'long '.repeat(20)}`)) }),
    (index) => ({ kind: 'empty', text: JSON.stringify(talk(`no answer ${index}`)) }),
    () => ({ kind: 'emptyCut', text: JSON.stringify(talk('long '.repeat(20), 'lost')) }),
    () => ({ kind: 'noJson', text: '{"messages": [' }),
    () => ({ kind: 'noMessages', text: '{"text": "a"}' }),
    () => ({ kind: 'foreign', text: JSON.stringify({ input_ids: [1, FOREIGN], loss_start: 1 }) }),
    (index) => ({ kind: 'notFinite', text: JSON.stringify({ input_ids: [1, 3 + index, SPOILED, 2], loss_start: 1 }) }),
  ]
  const lines = Array.from({ length: count }, (_, index) => makers[index % makers.length]?.(index))
  return lines.filter((line) => line !== undefined)
}

/** What a producer must count of `lines`, counted line by line. */
function expectedHealth(lines: readonly Line[], file: string): ProducedHealth {
  const places = (...kinds: Line['kind'][]) =>
    lines.flatMap(({ kind }, index) => (kinds.includes(kind) ? [`${file}:${index + 1}`] : []))
  const count = (...kinds: Line['kind'][]) => places(...kinds).length
  const spoiled = places('notFinite')
  const reason = (why: string, samples: number, first: string) => ({
    why: expect.stringContaining(why),
    samples,
    places: expect.arrayContaining([expect.stringContaining(`${first}: `)]),
  })
  const [bad = '', foreign = '', notFinite = ''] = [places('noJson', 'noMessages')[0], places('foreign')[0], spoiled[0]]
  const reasons = [
    reason('not a conversation', count('noJson', 'noMessages'), bad),
    reason('the target does not have', count('foreign'), foreign),
    reason('no numbers', count('notFinite'), notFinite),
  ].sort((a, b) => b.samples - a.samples)
  return {
    version: 1,
    inputs: lines.length,
    total: lines.length,
    whole: true,
    empty: count('empty', 'emptyCut'),
    emptyCut: count('emptyCut'),
    emptyPlaces: places('empty', 'emptyCut').slice(0, 5),
    cutPlaces: places('cut').slice(0, 5),
    refused: count('noJson', 'noMessages', 'foreign', 'notFinite'),
    reasons: expect.arrayContaining(reasons) as never,
    notFinite: [{ state: 'aux_hidden_state, layer 1', samples: spoiled.length, places: spoiled.slice(0, 5) }],
    duplicates: { samples: count('repeat'), places: places('repeat').slice(0, 5) },
  }
}

async function scene(lines: readonly Line[], store: object = {}) {
  const dir = await tempDir()
  const file = path.join(dir, 'talks.jsonl')
  await writeFile(file, lines.map(({ text }) => `${text}\n`).join(''))
  const config = producing(inputs, dir, {
    target: { model: path.join(inputs, 'spoiled'), dtype: 'float32' },
    data: { conversations: file, maxLength: MAX, batchTokens: 120, maxBadShare: 1 },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast', ...store },
  })
  return { config, file }
}

const healthOf = async ({ manifest }: RunConfig) => (await readManifestSoFar({ dir: manifest })).health

describe('the counts of a capture', () => {
  const lines = generated(7 * 11 + 4)

  it('are those of counting line by line, with the first five places of each kind', async () => {
    const { config, file } = await scene(lines)
    const context = watched()
    await produce(config, context)
    const health = await healthOf(config)
    const expected = expectedHealth(lines, file)
    expect(health).toEqual(expected)
    const totals = { repeats: expected.duplicates.samples, refused: expected.refused, skipped: expected.empty }
    expect(finished(context)).toMatchObject(totals)
    // A producer with nothing left to do tells the same.
    const again = watched()
    await produce(config, again)
    const used = lines.filter(({ kind }) => ['used', 'repeat', 'cut'].includes(kind)).length
    expect(finished(again)).toMatchObject({ ...totals, resumed: used })
    const { refs } = await readManifestSoFar({ dir: config.manifest })
    expect(refs.length).toBe(used)
    expect(refs.map(({ truncated }) => Number(truncated)).reduce((a, b) => a + b)).toBe(
      lines.filter(({ kind }) => kind === 'cut').length,
    )
    for (const { places } of health?.reasons ?? []) expect(places.length).toBeLessThanOrEqual(5)
  })

  it('of a run that was stopped say how far it came; those of the run that goes on are those of the whole', async () => {
    const { config, file } = await scene(lines)
    await expect(produce(config, stoppingAfter(30))).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const stopped = await healthOf(config)
    expect(stopped).toMatchObject({ whole: false, total: lines.length })
    expect(stopped?.inputs).toBeLessThan(lines.length)
    const seen = lines.slice(0, stopped?.inputs)
    expect(stopped?.empty).toBe(seen.filter(({ kind }) => kind === 'empty' || kind === 'emptyCut').length)
    await produce(config, watched())
    const { duplicates, ...health } = (await healthOf(config)) ?? expect.fail('no health')
    const { duplicates: expected, ...rest } = expectedHealth(lines, file)
    expect(health).toEqual(rest)
    expect(duplicates.samples).toBe(expected.samples)
  })

  it('find repeats in a sealed store too, whose digests are masked', async () => {
    const { config, file } = await scene(lines, { auth: { mode: 'seal', keyFile: await keyFile() } })
    await produce(config, watched())
    const health = await healthOf(config)
    expect(health?.duplicates).toEqual(expectedHealth(lines, file).duplicates)
    // The manifest is not encrypted: it says where bad inputs are, and quotes nothing of them.
    for (const { places } of health?.reasons ?? []) {
      expect(places).toHaveLength(5)
      for (const place of places) expect(place).toMatch(/talks\.jsonl:\d+$/)
    }
  })

  it('are those of the whole in a sealed store that a producer goes on with, and nothing is made again', async () => {
    const { config, file } = await scene(lines, { auth: { mode: 'seal', keyFile: await keyFile() } })
    await expect(produce(config, stoppingAfter(30))).rejects.toMatchObject({ code: 'INTERRUPTED' })
    const before = (await readManifestSoFar({ dir: config.manifest })).refs
    expect(before.length).toBeGreaterThan(5)
    const context = watched()
    await produce(config, context)
    expect(finished(context)).toMatchObject({ resumed: before.length })
    const { duplicates, reasons: _, ...rest } = expectedHealth(lines, file)
    expect(await healthOf(config)).toMatchObject({ ...rest, duplicates: { samples: duplicates.samples } })
  })

  it('are published also when too many inputs are bad', async () => {
    const bad = generated(44).filter(({ kind }) => ['used', 'notFinite'].includes(kind))
    const { config, file } = await scene(bad)
    const strict = { ...config, data: { ...config.data, maxBadShare: 0.1 } }
    await expect(produce(strict, watched())).rejects.toThrow('too many samples are bad')
    const { root, health } = await readManifestSoFar({ dir: config.manifest })
    expect([root.state, root.error]).toEqual(['failed', 'FEATURE_INVALID'])
    expect(health).toMatchObject({
      whole: false,
      refused: 2,
      notFinite: [{ state: 'aux_hidden_state, layer 1', samples: 2, places: [`${file}:3`, `${file}:6`] }],
    })
  })
})

describe('the counts of an ingest', () => {
  it.each(['copy', 'hardlink'])('name the first bad layer of each file, and repeats: %s', async (link) => {
    const dir = await tempDir()
    const files = path.join(dir, 'features')
    await cp(path.join(inputs, 'features'), files, { recursive: true })
    // Hidden size 32, layers 1, 3 and 4: columns 0 to 31 are of layer 1, 32 to 63 of layer 3.
    const spoil = `import torch,sys
folder, *places = sys.argv[1:]
for place in places:
    number, state, column = place.split(':')
    file = f'{folder}/data_{int(number):03d}.ckpt'
    sample = torch.load(file)
    sample[state][0, 2, int(column)] = float('nan')
    torch.save(sample, file)`
    const places = ['1:aux_hidden_state:40', '4:aux_hidden_state:63', '4:hidden_state:0', '7:hidden_state:3']
    await run(pythonProgram, ['-c', spoil, files, ...places])
    await cp(path.join(files, 'data_002.ckpt'), path.join(files, 'data_902.ckpt'))
    const config = producing(inputs, dir, {
      data: { maxLength: 18, maxBadShare: 1 },
      features: { source: 'files', files: `${files}/*.ckpt`, link },
    })
    await produce(config, watched())
    const file = (number: string) => path.join(files, `data_${number}.ckpt`)
    expect(await healthOf(config)).toMatchObject({
      inputs: 12,
      refused: 3,
      reasons: [{ samples: 3 }],
      notFinite: [
        { state: 'aux_hidden_state, layer 3', samples: 2, places: [file('001'), file('004')] },
        { state: 'hidden_state', samples: 1, places: [file('007')] },
      ],
      duplicates: { samples: 1, places: [file('902')] },
    })
  })
})
