import { cp, rm } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../../src/store/open.ts'
import { finished, stateOf } from '../../support/producing.ts'
import { checkHandlesAfterEach, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { otherInputs, trainingInputs, watched } from '../../support/training.ts'

checkHandlesAfterEach()

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await Promise.all([trainingInputs(inputs), otherInputs(inputs)])
})

/** Two projects, each in a folder of its own, that share a store. Their runs have one id. */
async function projects() {
  const dir = await tempDir()
  const of = async (name: string, files: string, more: object = {}): Promise<RunConfig> => {
    const own = path.join(dir, name)
    await cp(path.join(inputs, files), path.join(own, 'features'), { recursive: true })
    return RunConfig.parse({
      version: 1,
      run: { id: 'same', dir: path.join(own, 'run') },
      target: { model: path.join(inputs, 'target'), dtype: 'float32' },
      data: { maxLength: 18 },
      features: { source: 'files', files: path.join(own, 'features'), ...more },
      store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
      manifest: path.join(own, 'manifest'),
    })
  }
  const first = await of('first', 'features')
  await produce(first, watched())
  return { dir, first, of }
}

/** How many samples of the first project's manifest are there as it lists them. */
async function kept({ manifest, store }: RunConfig): Promise<number> {
  const { refs } = await readRefManifest({ dir: manifest })
  await using opened = await sharedDirFeatureStore({ python, root: store.root, retain: true })
  return refs.length - (await opened.missing([...refs])).length
}

describe('two projects whose runs have one id, in one store', () => {
  it('the second one is refused, and the first one keeps what its manifest lists', async () => {
    const { dir, first, of } = await projects()
    const second = await of('second', 'other')
    const file = path.join(dir, 'first', 'manifest', 'manifest.json')
    const refusal = { code: 'CONFIG_INVALID', exitCode: 64, details: { file, field: 'run.id' } }
    await expect(produce(second, watched())).rejects.toMatchObject(refusal)
    await expect(produce(second, watched())).rejects.toThrow(/`run\.id` and a `manifest`.*--replace/)
    expect(await kept(first)).toBe(11)
    // Who waits for its samples need not wait longer.
    expect(await stateOf(second)).toMatchObject({ state: 'failed', error: 'CONFIG_INVALID' })
  })

  it('the second one replaces them where it says so, and both say whose they are now', async () => {
    const { dir, first, of } = await projects()
    const second = await of('second', 'other', { replace: true })
    await produce(second, watched())
    expect([await kept(first), await kept(second)]).toEqual([6, 5])
    const file = path.join(dir, 'second', 'manifest', 'manifest.json')
    await expect(produce(first, watched())).rejects.toMatchObject({ details: { file } })
    expect(await kept(second)).toBe(5)
  })

  it('a run id of its own is all that the second one needs', async () => {
    const { first, of } = await projects()
    const second = await of('second', 'other')
    await produce({ ...second, run: { ...second.run, id: 'own' as typeof second.run.id } }, watched())
    expect([await kept(first), await kept(second)]).toEqual([11, 5])
  })
})

describe('the same project', () => {
  it('makes again what is lost of its own, also of a complete manifest', async () => {
    const { first } = await projects()
    const { refs } = await readRefManifest({ dir: first.manifest })
    await using opened = await sharedDirFeatureStore({ python, root: first.store.root, retain: true })
    await opened.abort(refs.at(3).sampleId)
    const again = watched()
    await produce(first, again)
    expect([await kept(first), finished(again)?.resumed]).toEqual([11, 10])
  })

  it('makes all again once it has removed its manifest', async () => {
    const { first } = await projects()
    await rm(first.manifest, { recursive: true })
    await produce(first, watched())
    expect(await kept(first)).toBe(11)
  })

  it('is refused, with both keys, where other inputs would take the place of those that its manifest lists', async () => {
    const { dir, first } = await projects()
    const other = { ...first, data: { ...first.data, maxLength: 12 } }
    const both = /`run\.id` and a `manifest`/
    await expect(produce(other, watched())).rejects.toThrow(both)
    const elsewhere = { ...other, manifest: path.join(dir, 'first', 'manifest-2') }
    await expect(produce(elsewhere, watched())).rejects.toThrow(both)
    expect(await kept(first)).toBe(11)
  })
})
