import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { RunId, StoreId } from '../../../src/core/ids.ts'
import { ManifestWriter, readManifestRoot } from '../../../src/refs/manifest.ts'
import { published, work } from '../../support/manifests.ts'
import { exampleRef } from '../../support/refs.ts'

describe('a manifest writer', () => {
  it('adds nothing to a complete manifest', async () => {
    const writer = await ManifestWriter.open(await work(await published()))
    expect(writer.isComplete).toBe(true)
    expect(() => writer.append(exampleRef(9))).toThrow('nothing can be added')
  })

  it.each([
    ['a sample that waits for its flush', () => exampleRef(1)],
    ['a sample that is published', () => exampleRef(0)],
    ['a ref of another store', () => exampleRef(5, { storeId: StoreId.parse('store-b') })],
    ['a ref of another run', () => exampleRef(5, { runId: RunId.parse('other') })],
    ['tensors', () => ({ ...exampleRef(5), provenance: { t: new Float32Array(3) as never } })],
    [
      'a list of numbers',
      () => ({ ...exampleRef(5), provenance: { t: Array.from({ length: 100 }, () => 1) as never } }),
    ],
  ])('refuses %s', async (_, ref) => {
    const writer = await ManifestWriter.open(await work())
    writer.append(exampleRef(0))
    await writer.flush()
    writer.append(exampleRef(1))
    expect(() => writer.append(ref())).toThrow(expect.objectContaining({ code: 'REF_INVALID' }))
  })

  it('gives a sign of life also when there is nothing to publish', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    given.clock.advance(5000)
    await writer.flush()
    expect((await readManifestRoot(given.dir))?.root.heartbeat).toBe(given.clock.now())
    expect((await readdir(given.dir)).filter((name) => !name.startsWith('.'))).toEqual(['manifest.json'])
  })
})
