import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../src/core/errors.ts'
import { RunId, SampleId, StoreId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { Blobs, StoredBlob } from '../../src/store/blobs/blobs.ts'
import type { Notes } from '../../src/store/coordination/notes.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { everyInterleaving, type Step } from '../support/interleavings.ts'
import { hollowPorts, hollowSet, type SharedMemory, sharedMemory } from '../support/watched-ports.ts'

/** How a claim is decided. The last two are wrong and must be found. */
type Rule = 'by the server' | 'a look finds the sample' | 'a look finds nobody'

/** One machine of the model. What the server decides waits for its turn; what is only read comes out of its cache. */
class Machine {
  readonly store: FeatureStore
  step: Step = async () => undefined
  /** As the server has it: a machine that is fenced right afterwards does not learn of it. */
  acknowledged = 0
  readonly #rule: Rule

  constructor(memory: SharedMemory, rule: Rule) {
    this.#rule = rule
    const { blobs, coordination } = hollowPorts(memory)
    const notes = { ...coordination.notes, ...this.#notes(coordination.notes) }
    const ports = { blobs: { ...blobs, ...this.#blobs(blobs) }, coordination: { ...coordination, notes } }
    this.store = new FeatureStore(ports, { id: StoreId.parse('store'), retain: false })
  }

  #blobs(blobs: Blobs): Pick<Blobs, 'has' | 'read' | 'remove'> {
    let cached: StoredBlob | undefined
    return {
      has: async (key) => {
        await this.step()
        return this.#rule === 'a look finds the sample' || blobs.has(key)
      },
      // A sample that was read once can be read again from the cache, whatever became of it.
      read: async (wanted) => {
        const found = await blobs.read(wanted)
        return found.map((blob) => {
          if (blob !== null && !(blob instanceof Error)) cached = blob
          return blob ?? (cached === undefined ? null : { ...cached, tensors: hollowSet() })
        })
      },
      remove: async (key) => {
        await this.step()
        return blobs.remove(key)
      },
    }
  }

  #notes(notes: Notes): Pick<Notes, 'createAlone' | 'enter' | 'move' | 'remove'> {
    return {
      createAlone: async (name, text) => {
        await this.step()
        if (this.#rule !== 'a look finds nobody' || !name.startsWith('claims/')) return notes.createAlone(name, text)
        if ((await notes.list(path.posix.dirname(name))).length > 0) return false
        await this.step()
        return notes.create(name, text)
      },
      enter: async (name, sign) => {
        await this.step()
        return notes.enter(name, sign)
      },
      move: async (from, to) => {
        await this.step()
        const moved = await notes.move(from, to)
        if (moved && to.endsWith('/acked')) this.acknowledged += 1
        return moved
      },
      remove: async (name) => {
        if (name.endsWith('/acked')) await this.step()
        return notes.remove(name)
      },
    }
  }
}

const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }

/** A sample that both machines have read, so that both have it in their cache. */
async function readByBoth(rule: Rule) {
  const memory = sharedMemory()
  const [here, there] = [new Machine(memory, rule), new Machine(memory, rule)]
  await using tensors = hollowSet()
  const ref = await here.store.put(SampleId.parse('s'), tensors, about)
  for (const { store } of [here, there]) await (await store.claim(ref))[Symbol.asyncDispose]()
  return { here, there, ref, stored: () => memory.tensors.held.size > 0 }
}

async function work({ store }: Machine, ref: SampleRef): Promise<void> {
  try {
    await using claim = await store.claim(ref)
    await claim.acknowledge()
  } catch (error) {
    if (!hasCode(error, 'STORE_BUSY', 'SAMPLE_NOT_FOUND')) throw error
  }
}

/** What can go wrong when `deeds` run at the same time, in every order of the steps that the server decides. */
async function explored(rule: Rule, deeds: (model: Model) => readonly ((step: Step) => Promise<void>)[]) {
  const wrongs = new Set<string>()
  let orders = 0
  await everyInterleaving(async (run) => {
    orders += 1
    const model = await readByBoth(rule)
    await run(deeds(model))
    for (const machine of [model.here, model.there]) machine.step = async () => undefined
    const times = model.here.acknowledged + model.there.acknowledged
    if (times > 1) wrongs.add('acknowledged twice')
    if (times === 0 && !model.stored()) wrongs.add('lost')
    for (const { store } of [model.here, model.there]) await store.close()
    return wrongs.size === 0
  })
  return { orders, wrongs: [...wrongs] }
}
type Model = Awaited<ReturnType<typeof readByBoth>>

const bothWork = ({ here, there, ref }: Model) => [
  async (step: Step) => {
    here.step = step
    await work(here, ref)
  },
  async (step: Step) => {
    there.step = step
    await work(there, ref)
  },
]

/** The other machine takes the first one for dead, at any moment, and goes on with its work. */
const oneIsFenced = ({ here, there, ref }: Model) => [
  async (step: Step) => {
    here.step = step
    await work(here, ref)
  },
  async (step: Step) => {
    there.step = step
    await step()
    await there.store.fence(here.store.memberId)
    await work(there, ref)
  },
]

describe('two machines that have cached a sample, in every order of what the server decides', () => {
  it.each([
    ['claim it', bothWork],
    ['claim it, and one is fenced', oneIsFenced],
  ])('%s: its work is acknowledged once at most, and it is never lost', async (_, deeds) => {
    const { orders, wrongs } = await explored('by the server', deeds)
    expect(wrongs).toEqual([])
    expect(orders).toBeGreaterThan(100)
  })

  it.each(['a look finds the sample', 'a look finds nobody'] as const)(
    'a rule that is wrong is found: %s',
    async (rule) => {
      expect((await explored(rule, bothWork)).wrongs).toEqual(['acknowledged twice'])
    },
  )
})
