import { describe, expect, it } from 'vitest'
import { RunId, SampleId, StoreId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { synthesize } from '../support/python.ts'
import { about, bench, type Subject, s0, sample } from './subject.ts'

/** Bad input is refused with the right code, and what was good before stays usable. */
export function describeBadInputContract(name: string, subject: Subject): void {
  describe(`${name}: bad input`, () => describeBadInput(subject))
}

function describeBadInput(subject: Subject): void {
  const { store: open, put, consume } = bench(subject)

  it('refuses a ref of another store and names both', async () => {
    const store = await open()
    const ref = await put(store, s0, 1)
    const foreign = { ...ref, storeId: StoreId.parse('elsewhere') }
    await expect(store.get(foreign)).rejects.toMatchObject({
      code: 'REF_INVALID',
      details: { field: 'storeId', found: `elsewhere; this store is ${store.id}` },
    })
  })

  const wrongs: readonly [string, string, (ref: SampleRef) => SampleRef][] = [
    ['another shape', 'SPEC_MISMATCH', (ref) => withSpec(ref, { shape: [2, 3] })],
    ['another dtype', 'SPEC_MISMATCH', (ref) => withSpec(ref, { dtype: 'int32' })],
    ['another run', 'SAMPLE_CORRUPT', (ref) => ({ ...ref, runId: RunId.parse('other') })],
    ['no digest', 'SAMPLE_CORRUPT', (ref) => ({ ...ref, digests: {} })],
    ['another schema version', 'REF_INVALID', (ref) => ({ ...ref, schemaVersion: 999 }) as unknown as SampleRef],
    ['an unknown key', 'REF_INVALID', (ref) => ({ ...ref, uri: 'file:///etc/passwd' }) as SampleRef],
    ['a generation of 0', 'REF_INVALID', (ref) => ({ ...ref, generation: 0 }) as SampleRef],
    ['an id that leaves the store', 'REF_INVALID', (ref) => ({ ...ref, sampleId: '../../x' }) as SampleRef],
    ['bytes in it', 'REF_INVALID', (ref) => ({ ...ref, provenance: { x: new Uint8Array(4) as never } })],
  ]
  it.each(wrongs)('refuses a ref with %s: %s', async (_, code, spoil) => {
    const store = await open()
    const ref = await put(store, s0, 1)
    await expect(store.get(spoil(ref))).rejects.toMatchObject({ code })
    expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('names the feature that a ref does not have', async () => {
    const store = await open({ retain: true })
    const ref = await put(store, s0, 1)
    const details = { field: 'logits' }
    await expect(store.get(ref, { names: ['logits'] })).rejects.toMatchObject({ code: 'SPEC_MISMATCH', details })
    expect(store.leases).toBe(0)
  })

  const ids = ['../x', '/etc/x', 'a/b', 'a\0b', '', '.', '..', '-x', 'x'.repeat(201), 'é', 'a b']
  it.each(ids)('refuses the sample id %j in put, abort and get', async (text) => {
    const store = await open()
    const ref = await put(store, s0, 1)
    await using source = await sample(1)
    const id = text as SampleId
    await expect(store.put(id, source, about)).rejects.toMatchObject({ code: 'REF_INVALID' })
    await expect(store.abort(id)).rejects.toMatchObject({ code: 'REF_INVALID' })
    await expect(store.get({ ...ref, sampleId: id })).rejects.toMatchObject({ code: 'REF_INVALID' })
  })

  it('takes the longest id there is', async () => {
    const store = await open()
    const ref = await put(store, SampleId.parse('x'.repeat(200)), 1)
    expect(await consume(store, ref)).toEqual(ref.digests)
  })

  it('refuses what cannot be described, before anything is stored', async () => {
    const store = await open({ retain: true })
    const before = await put(store, s0, 1)
    await using source = await sample(2)
    await using nothing = await synthesize(1, [])
    const refused = (provenance: unknown, numTokens = 6) =>
      expect(
        store.put(s0, source, { ...about, numTokens, provenance: provenance as typeof about.provenance }),
      ).rejects.toMatchObject({ code: 'REF_INVALID' })
    await refused({ tensor: Array.from({ length: 65 }, () => 0.5) })
    await refused({ tensor: Buffer.alloc(8) })
    await refused({}, -1)
    await refused({}, 1.5)
    await expect(store.put(s0, nothing, about)).rejects.toMatchObject({ code: 'FEATURE_INVALID' })
    expect(await consume(store, before)).toEqual(before.digests)
  })
}

function withSpec(ref: SampleRef, change: Partial<SampleRef['features'][number]>): SampleRef {
  const [first, ...rest] = ref.features
  return first === undefined ? ref : { ...ref, features: [{ ...first, ...change }, ...rest] }
}
