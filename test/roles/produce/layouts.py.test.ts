import { execFile } from 'node:child_process'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { consume } from '../../../src/roles/train/consume.ts'
import { finished, producing } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { curve, pythonProgram, trainingInputs, type Watched, watched } from '../../support/training.ts'

checkHandlesAfterEach()
const run = promisify(execFile)
const COUNT = 5

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs, 1)
  const script = [path.resolve('test/support/make_extracted.py'), path.join(inputs, 'target'), inputs]
  const env = { ...process.env, PYTHONPATH: path.resolve('python') }
  await run(pythonProgram, [...script, '--count', String(COUNT)], { env })
})

type Features = Partial<Omit<RunConfig['features'], 'source'>> & { readonly files: string }

async function ingesting(features: Features) {
  const config = producing(inputs, await tempDir(), {
    features: { source: 'files', ...features },
    data: { maxLength: 64 },
  })
  const context = watched()
  return { config, context, done: produce(config, context) }
}

const found = ({ seen }: Watched) => seen.find((body) => body.event === 'produce.found')
const at = (...parts: string[]) => path.join(inputs, ...parts)
const EXTRACTED = 'extracted/hidden_states'
const rows = () => at('extracted/rows.jsonl')

async function ingested(features: Features) {
  const { config, context, done } = await ingesting(features)
  await done
  const { refs, contract } = await readRefManifest({ dir: config.manifest })
  const digests = [...refs].map((ref) => ref.digests)
  return { config, context, contract, digests }
}

describe('feature files of vLLM', () => {
  it('are the samples that SpecForge would have written, but for the last norm, which training applies', async () => {
    const theirs = await ingested({ files: at(EXTRACTED), masks: rows() })
    const ours = await ingested({ files: at('specforge') })
    expect(found(theirs.context)).toMatchObject({
      ...{ layout: 'speculators', finalNorm: 'pre', masks: `${rows()}, ${COUNT} rows` },
      files: [{ kind: 'speculators', files: COUNT }],
    })
    expect(found(ours.context)).toMatchObject({ layout: 'specforge', finalNorm: 'post', masks: null })
    expect([theirs.contract.finalNorm, ours.contract.finalNorm]).toEqual(['pre', 'post'])
    const rest = ({ hidden_state: _, ...others }: Readonly<Record<string, string>>) => others
    expect(theirs.digests.map(rest)).toEqual(ours.digests.map(rest))
    const [one, other] = [await trained(theirs.config), await trained(ours.config)]
    expect(one.length).toBeGreaterThan(0)
    for (const [step, { loss }] of one.entries()) expect(loss).toBeCloseTo(other[step]?.loss ?? Number.NaN, 5)
  })

  it('need the data set that their tokens came from, and say so before anything is stored', async () => {
    const { done } = await ingesting({ files: at(EXTRACTED) })
    await expect(done).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { field: 'features.masks' } })
  })

  it('are found beside the data set that speculators prepared', async () => {
    const dir = await tempDir()
    await cp(at(EXTRACTED), path.join(dir, 'hidden_states'), { recursive: true })
    await writeFile(path.join(dir, 'data-00000-of-00001.arrow'), 'no stream')
    const { done } = await ingesting({ files: path.join(dir, 'hidden_states') })
    await expect(done).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'features.masks', file: dir, found: expect.stringContaining('Arrow') },
    })
  })
})

describe('feature files of TorchSpec', () => {
  it('are those of the split `train`, with the norm that the folder states', async () => {
    const { context, contract, digests } = await ingested({ files: at('torchspec') })
    expect(contract.finalNorm).toBe('pre')
    expect(finished(context)).toMatchObject({ samples: COUNT - 1, refused: 0 })
    expect(found(context)).toMatchObject({ layout: 'torchspec', leftOut: [{ count: 1, first: 'samples/hs_0.pt' }] })
    const others = await ingested({ files: at(EXTRACTED), masks: rows() })
    expect(digests).toEqual(others.digests.slice(1))
  })

  it('without their lists need to be told where the norm is', async () => {
    const files = at('torchspec/samples/*.pt')
    const { done } = await ingesting({ files })
    await expect(done).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { field: 'features.finalNorm' } })
    const { context } = await ingested({ files, finalNorm: 'pre' })
    expect(finished(context)).toMatchObject({ samples: COUNT })
  })
})

describe('a folder of feature files', () => {
  it('with two layouts is refused with the count of each, and nothing is stored', async () => {
    const dir = await tempDir()
    for (const name of [EXTRACTED, 'specforge']) await symlink(at(name), path.join(dir, path.basename(name)))
    const { done, config } = await ingesting({ files: dir, masks: rows() })
    const said = expect.stringMatching(/5 x \w+ \(.*\), 5 x \w+ \(/)
    await expect(done).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { found: said } })
    await expect(readRefManifest({ dir: config.manifest })).rejects.toThrow()
  })

  it('of another layout than it is said to have is refused', async () => {
    const { done } = await ingesting({ files: at('specforge'), layout: 'speculators' })
    await expect(done).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'features.layout', found: expect.stringContaining('5 files are specforge') },
    })
  })

  it('says what it leaves out', async () => {
    const dir = path.join(await tempDir(), 'all {of} it')
    await mkdir(dir)
    await cp(at('specforge'), dir, { recursive: true })
    await writeFile(path.join(dir, 'hs_1.ckpt.gz'), 'a copy')
    await writeFile(path.join(dir, '._hs_1.ckpt'), 'Mac OS X')
    await symlink('.', path.join(dir, 'loop'))
    await symlink('nowhere.ckpt', path.join(dir, 'lost.ckpt'))
    const { context } = await ingested({ files: `${dir}/**/*.ckpt*` })
    expect(finished(context)).toMatchObject({ inputs: COUNT + 1, samples: COUNT, refused: 1 })
    const { leftOut = [], files } = found(context) ?? {}
    expect(leftOut.map(({ count, first }) => [count, first])).toEqual([
      [1, 'hs_1.ckpt.gz'],
      [1, '._hs_1.ckpt'],
      [1, 'loop'],
    ])
    expect(files).toContainEqual({ kind: 'unreadable', files: 1 })
  })
})

async function trained(config: RunConfig) {
  const context = watched()
  const settings = { epochs: 1, batch: { samples: 1 }, precision: 'fp32', ttt: { steps: 2 }, logInterval: 1 }
  const launch = { ranksPerNode: 1 }
  await consume(RunConfig.parse({ ...config, draft: { vocabSize: 64 }, train: settings, launch }), context)
  return curve(context)
}
