import { describe, expect, it } from 'vitest'
import { hasCode } from '../../src/core/errors.ts'
import { RunId, SampleId, StoreId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import type { BlobKey } from '../../src/store/blob-key.ts'
import type { Blobs, StoredBlob } from '../../src/store/blobs/blobs.ts'
import type { Coordination } from '../../src/store/coordination/coordination.ts'
import type { Notes } from '../../src/store/coordination/notes.ts'
import type { Claim } from '../../src/store/feature-store.ts'
import { FeatureStore } from '../../src/store/feature-store.ts'
import { everyInterleaving, type Step } from '../support/interleavings.ts'
import { hollowPorts, hollowSet, type SharedMemory, sharedMemory } from '../support/watched-ports.ts'

/** How a claim is decided. All but the first are wrong and must be found. */
type Rule =
  | 'by the server'
  | 'a look finds the sample'
  | 'a look finds nobody'
  | 'a note of a claim is removed and made again'
  | 'a fence comes too late for an acknowledgement'
  | 'nobody looks for an acknowledgement'

/** One machine of the model. What the server decides waits for its turn; what is only read comes out of its cache. */
class Machine {
  readonly store: FeatureStore
  step: Step = async () => undefined
  /** As the server has it: a machine that is fenced right afterwards does not learn of it. */
  acknowledged = 0
  holds: Claim | undefined
  readonly #rule: Rule
  readonly #blobs: Blobs

  constructor(memory: SharedMemory, rule: Rule) {
    this.#rule = rule
    const { blobs, coordination } = hollowPorts(memory)
    const notes = { ...coordination.notes, ...this.#notes(coordination.notes) }
    const decided = { ...coordination, ...this.#decided(coordination, memory.facts.notes), notes }
    this.#blobs = { ...blobs, ...this.#cached(blobs) }
    this.store = new FeatureStore(
      { blobs: this.#blobs, coordination: decided },
      { id: StoreId.parse('store'), retain: false },
    )
  }

  /** Reads the sample into the machine's cache. */
  async readAhead(key: BlobKey): Promise<void> {
    await this.#blobs.read([{ key, names: null, rows: null, maxBytes: Number.POSITIVE_INFINITY, verify: false }])
  }

  #cached(blobs: Blobs): Pick<Blobs, 'has' | 'read' | 'remove'> {
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

  #decided(coordination: Coordination, shared: Notes): Pick<Coordination, 'sign' | 'signAway' | 'publishOver'> {
    return {
      sign: async (name) => {
        await this.step()
        if (this.#rule !== 'a look finds nobody' || !name.startsWith('claims/')) return coordination.sign(name)
        if ((await shared.read(name)) !== null) return false
        await this.step()
        await shared.write(name, coordination.memberId)
        return true
      },
      signAway: async (name) => {
        await this.step()
        if (this.#rule !== 'a note of a claim is removed and made again') return coordination.signAway(name)
        return shared.remove(turnBefore(name))
      },
      publishOver: async (name, text) => {
        await this.step()
        if (this.#rule === 'a fence comes too late for an acknowledgement') await shared.write(name, text)
        else await coordination.publishOver(name, text)
        if (name.startsWith('consumed/')) this.acknowledged += 1
      },
    }
  }

  #notes(notes: Notes): Pick<Notes, 'has' | 'read' | 'remove'> {
    const cached = new Map<string, string>()
    return {
      has: async (name) => {
        const isLookedFor = !name.startsWith('consumed/') || this.#rule !== 'nobody looks for an acknowledgement'
        return isLookedFor && notes.has(name)
      },
      // What was read of a claim once may come out of the cache for ever.
      read: async (name) => {
        if (!name.startsWith('claims/')) return notes.read(name)
        const text = cached.get(name) ?? (await notes.read(name))
        if (text !== null) cached.set(name, text)
        return text
      },
      remove: async (name) => {
        if (name.startsWith('claims/')) await this.step()
        return notes.remove(name)
      },
    }
  }
}

/** claims/k:2 -> claims/k:1 -> claims/k */
function turnBefore(name: string): string {
  const [, first = '', turn = ''] = /^(.*):(\d+)$/.exec(name) ?? []
  return turn === '1' ? first : `${first}:${Number(turn) - 1}`
}

const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }

/** A sample that both machines have read, so that both have it in their cache. */
async function readByBoth(rule: Rule) {
  const memory = sharedMemory()
  const [here, there] = [new Machine(memory, rule), new Machine(memory, rule)]
  await using tensors = hollowSet()
  const ref = await here.store.put(SampleId.parse('s'), tensors, about)
  for (const machine of [here, there]) await machine.readAhead(ref)
  const dead = new Machine(memory, rule)
  return { here, there, dead, ref, stored: () => memory.tensors.held.size > 0 }
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
    if (model.here.holds !== undefined && model.there.holds !== undefined) wrongs.add('claimed by both')
    const times = model.here.acknowledged + model.there.acknowledged
    if (times > 1) wrongs.add('acknowledged twice')
    if (times === 0 && !model.stored()) wrongs.add('lost')
    for (const { store } of [model.here, model.there, model.dead]) await store.close()
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

/** Claims the sample, and writes down what the machine holds then. */
async function hold(machine: Machine, ref: SampleRef): Promise<void> {
  machine.holds = await machine.store.claim(ref).catch((error: unknown) => {
    if (!hasCode(error, 'STORE_BUSY')) throw error
    return undefined
  })
}

/** Both find the claim of a machine that died. `before`: what happened to that claim first. */
const bothTakeOver = (before: (model: Model, claim: Claim) => Promise<void>) => (model: Model) => {
  const { here, there, dead, ref } = model
  let found: Promise<void> | undefined
  const died = async () => {
    await before(model, await dead.store.claim(ref))
    await here.store.fence(dead.store.memberId)
  }
  return [here, there].map((machine) => async (step: Step) => {
    found ??= died()
    await found
    machine.step = step
    await hold(machine, ref)
  })
}

const takeOver = bothTakeOver(async () => undefined)

/** Both have seen the claim before it was given back. */
const takeOverWhatWasGivenBack = bothTakeOver(async ({ here, there, ref }, claim) => {
  for (const machine of [here, there]) await hold(machine, ref)
  await claim[Symbol.asyncDispose]()
})

describe('two machines that have cached a sample, in every order of what the server decides', () => {
  it.each([
    ['claim it', bothWork],
    ['claim it, and one is fenced', oneIsFenced],
    ['take over the claim of a dead one', takeOver],
    ['take over a claim that they do not know was given back', takeOverWhatWasGivenBack],
  ])('%s: its work is acknowledged once at most, and it is never lost', async (_, deeds) => {
    const { orders, wrongs } = await explored('by the server', deeds)
    expect(wrongs).toEqual([])
    expect(orders).toBeGreaterThan(10)
  })

  it.each([
    ['a look finds the sample', bothWork, 'acknowledged twice'],
    ['a look finds nobody', bothWork, 'acknowledged twice'],
    ['a fence comes too late for an acknowledgement', oneIsFenced, 'acknowledged twice'],
    ['a note of a claim is removed and made again', takeOverWhatWasGivenBack, 'claimed by both'],
    ['nobody looks for an acknowledgement', oneIsFenced, 'acknowledged twice'],
  ] as const)('a rule that is wrong is found: %s', async (rule, deeds, wrong) => {
    expect((await explored(rule, deeds)).wrongs).toEqual([wrong])
  })
})
