import path from 'node:path'
import { expect, it } from 'vitest'
import { SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { about, sample } from '../contract/subject.ts'
import { checkHandlesAfterEach, python } from '../support/python.ts'
import { describeOnFuse, mounted, type Requests, requestsOf } from './mounted.ts'

const SAMPLES = 20
const idOf = (index: number) => SampleId.parse(`run:${String(index).padStart(8, '0')}`)

/** Only the calls that wait for an answer; the kernel sends FORGET, RELEASE and RELEASEDIR without waiting. */
const NOT_WAITED = new Set(['FORGET', 'BATCH_FORGET', 'RELEASE', 'RELEASEDIR', 'INTERRUPT'])
const total = (asked: Requests): number =>
  Object.entries(asked).reduce((sum, [name, times]) => sum + (NOT_WAITED.has(name) ? 0 : times), 0)

describeOnFuse('round trips to the server where names are cached', () => {
  checkHandlesAfterEach()

  it('of a warm put, get, claim and acknowledgement', async () => {
    const point = await mounted('keptCached')
    await using store = await sharedDirFeatureStore({ python, root: path.join(point, 'store'), retain: true })
    await using source = await sample(1)
    const refs: SampleRef[] = []
    const costs: Record<string, number> = {}
    const each = async (name: string, task: (index: number) => Promise<void>) => {
      for (let index = 0; index < SAMPLES; index += 1) await task(index)
      await requestsOf(point)
      for (let index = SAMPLES; index < 2 * SAMPLES; index += 1) await task(index)
      const asked = await requestsOf(point)
      costs[name] = total(asked) / SAMPLES
    }
    await each('put', async (index) => {
      refs.push(await store.put(idOf(index), source, about))
    })
    const refAt = (index: number) => refs[index] as SampleRef
    await each('get', async (index) => (await store.get(refAt(index)))[Symbol.asyncDispose]())
    await each('claim', async (index) => (await store.claim(refAt(index)))[Symbol.asyncDispose]())
    await each('claim and acknowledge', async (index) => (await store.claim(refAt(index))).acknowledge())
    await using consumer = await sharedDirFeatureStore({ python, root: path.join(point, 'store') })
    const fresh: SampleRef[] = []
    for (let index = 0; index < 2 * SAMPLES; index += 1) fresh.push(await store.put(idOf(index), source, about))
    await each('consume', async (index) => (await consumer.claim(fresh[index] as SampleRef)).acknowledge())
    // Stated in docs/file-systems.md. A new step of a protocol shows here first.
    expect(costs['put']).toBeLessThanOrEqual(33)
    expect(costs['get']).toBeLessThanOrEqual(7)
    expect(costs['claim']).toBeLessThanOrEqual(12)
    expect(costs['claim and acknowledge']).toBeLessThanOrEqual(13)
    expect(costs['consume']).toBeLessThanOrEqual(36)
  })
})
