import { expect, it } from 'vitest'
import { finding } from '../../../src/core/errors.ts'
import type { SampleRef } from '../../../src/core/sample-ref.ts'
import { settleEarlier } from '../../../src/train/data/settle-earlier.ts'
import { FakeEngine, fakePlan, fakeRef } from '../fake-engine.ts'
import { FakeStore } from '../fake-store.ts'

const refs = Array.from({ length: 8 }, (_, index) => fakeRef(index))
const plan = fakePlan(refs, { batch: { samples: 2 } })
const order = [...plan.from(0)].flatMap(({ samples }) => samples.map((index) => `sample-${index}`))

class KilledStore extends FakeStore {
  readonly busy = new Set<string>()

  async missingOf(wanted: readonly SampleRef[]): Promise<readonly SampleRef[]> {
    return wanted.filter(({ sampleId }) => this.missing.has(sampleId))
  }

  override claim(ref: SampleRef) {
    if (this.busy.has(ref.sampleId)) return Promise.reject(finding('STORE_BUSY', 'claimed', {}))
    return super.claim(ref)
  }
}

it('frees what the checkpoint holds and the killed run had not freed, and touches nothing else', async () => {
  const python = new FakeEngine()
  const killed = new KilledStore(python, false)
  const [acknowledged = '', , claimed = ''] = order
  killed.missing.add(acknowledged)
  killed.busy.add(claimed)
  const store = {
    missing: (wanted: readonly SampleRef[]) => killed.missingOf(wanted),
    claim: (ref: SampleRef) => killed.claim(ref),
  }
  await settleEarlier({ store, refs, steps: plan.from(0), before: 3 })
  expect(killed.acknowledged).toEqual([order[1], order[3], order[4], order[5]])
  expect([killed.leased.length, python.live.size]).toEqual([0, 0])
})
