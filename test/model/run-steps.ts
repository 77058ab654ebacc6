import fc from 'fast-check'
import { RunId, SampleId } from '../../src/core/ids.ts'
import { keyText } from '../../src/store/blob-key.ts'

import type { Claim, FeatureStore, Lease } from '../../src/store/feature-store.ts'
import { digestsOf, sampleSpecs, synthesize } from '../support/tensors.ts'
import { type Expected, type Known, StoreModel } from './store-model.ts'

/** One store that several clients open. */
export interface ModelSubject {
  open(): Promise<FeatureStore>
  end(): Promise<void>
}

const CLIENTS = 3
const SAMPLES = ['a', 'b'].map((id) => SampleId.parse(id))
const SEEDS = 4
const about = { runId: RunId.parse('run'), numTokens: 2, provenance: {} }

const KINDS = [
  'put',
  'get',
  'getMany',
  'release',
  'claim',
  'acknowledge',
  'giveBack',
  'abort',
  'sweep',
  'reopen',
  'kill',
] as const
type Kind = (typeof KINDS)[number]
export interface Step {
  readonly kind: Kind
  readonly client: number
  readonly pick: number
}
const WEIGHTS: Readonly<Record<Kind, number>> = {
  ...{ put: 5, get: 5, getMany: 2, release: 4, claim: 5, acknowledge: 3 },
  ...{ giveBack: 2, abort: 1, sweep: 1, reopen: 1, kill: 3 },
}

export const stepsArbitrary = fc.array(
  fc.record<Step>({
    kind: fc.oneof(...KINDS.map((kind) => ({ weight: WEIGHTS[kind], arbitrary: fc.constant(kind) }))),
    client: fc.nat(CLIENTS - 1),
    pick: fc.nat(40),
  }),
  // Without `size` nearly all of them would have ten steps or fewer, and meet next to nothing.
  { minLength: 1, maxLength: 40, size: 'max' },
)

interface Hold {
  readonly known: Known
  readonly held: Lease | Claim
}

interface Client {
  number: number
  store: FeatureStore
  holds: Hold[]
}

/** Does the steps to a store and to the model, and throws where they differ. */
export async function runSteps(subject: ModelSubject, retain: boolean, steps: readonly Step[]): Promise<void> {
  const run = new ModelRun(subject, new StoreModel(retain))
  try {
    await run.begin()
    for (const step of steps) await run.step(step)
    await run.compare()
  } finally {
    await run.end()
  }
}

class ModelRun {
  readonly #subject: ModelSubject
  readonly #model: StoreModel
  readonly #clients: Client[] = []
  readonly #killed: Client[] = []
  #numbers = 0

  constructor(subject: ModelSubject, model: StoreModel) {
    this.#subject = subject
    this.#model = model
  }

  async begin(): Promise<void> {
    for (let index = 0; index < CLIENTS; index++) this.#clients.push(await this.#open())
  }

  async step({ kind, client: index, pick }: Step): Promise<void> {
    const client = this.#clients[index]
    if (client === undefined) throw new Error('no client')
    const { known } = this.#model
    const one = known[known.length - 1 - (pick % Math.max(1, known.length))]
    if (kind === 'put') return this.#put(client, pick)
    if (kind === 'abort') return this.#abort(client, pick)
    if (kind === 'sweep') return this.#sweep(client)
    if (kind === 'reopen') return this.#reopen(index)
    if (kind === 'kill') return this.#kill(index)
    if (kind === 'getMany') return this.#getMany(client)
    if (kind === 'get' || kind === 'claim') return one === undefined ? undefined : this.#borrow(kind, client, one)
    await this.#letGo(kind, client, pick)
  }

  /** What is stored, in the eyes of a client that was not there. */
  async compare(): Promise<void> {
    await using fresh = await this.#subject.open()
    const refs = this.#model.known.map((one) => one.ref)
    const missing = new Set((await fresh.missing(refs)).map(keyText))
    const stored = refs.map(keyText).filter((key) => !missing.has(key))
    same('what is stored', stored.sort().join(' '), this.#model.stored().join(' '))
  }

  async end(): Promise<void> {
    for (const { store } of [...this.#killed, ...this.#clients]) await store.close()
    await this.#subject.end()
  }

  async #open(): Promise<Client> {
    this.#numbers += 1
    return { number: this.#numbers, store: await this.#subject.open(), holds: [] }
  }

  async #put({ store }: Client, pick: number): Promise<void> {
    const seed = pick % SEEDS
    await using source = await synthesize(seed, sampleSpecs(2, 2))
    const ref = await store.put(SAMPLES[pick % SAMPLES.length] ?? SampleId.parse('a'), source, about)
    const earlier = this.#model.known.filter((one) => one.ref.sampleId === ref.sampleId)
    const greatest = Math.max(0, ...earlier.map((one) => one.ref.generation))
    if (ref.generation <= greatest) throw new Error(`generation ${ref.generation} after ${greatest}`)
    this.#model.put(ref, seed)
  }

  async #abort({ store }: Client, pick: number): Promise<void> {
    const sampleId = SAMPLES[pick % SAMPLES.length] ?? SampleId.parse('a')
    await store.abort(sampleId)
    this.#model.abort(sampleId)
  }

  async #borrow(kind: 'get' | 'claim', client: Client, known: Known): Promise<void> {
    const expected = kind === 'get' ? this.#model.get(client.number, known) : this.#model.claim(client.number, known)
    const outcome = await client.store[kind](known.ref).catch((error: unknown) => error)
    same(`${kind} ${keyText(known.ref)}`, codeOf(outcome), expected)
    if (isHeld(outcome)) await this.#hold(client, known, outcome)
  }

  async #getMany(client: Client): Promise<void> {
    const wanted = this.#model.known.filter((one) => one.stored)
    const leases = await client.store.getMany(wanted.map((one) => one.ref))
    for (const [index, known] of wanted.entries()) {
      const lease = leases[index]
      if (lease === undefined) throw new Error('a getMany that gives too few')
      this.#model.get(client.number, known)
      await this.#hold(client, known, lease)
    }
  }

  async #hold(client: Client, known: Known, held: Lease | Claim): Promise<void> {
    client.holds.push({ known, held })
    await using source = await synthesize(known.seed, sampleSpecs(2, 2))
    same(`the bytes of ${keyText(known.ref)}`, text(await digestsOf(held.tensors)), text(await digestsOf(source)))
  }

  async #letGo(kind: 'release' | 'acknowledge' | 'giveBack', client: Client, pick: number): Promise<void> {
    const fitting = client.holds.filter(({ held }) => 'acknowledge' in held !== (kind === 'release'))
    const hold = fitting[pick % Math.max(1, fitting.length)]
    if (hold === undefined) return
    const { known, held } = hold
    client.holds = client.holds.filter((each) => each !== hold)
    if (kind === 'acknowledge' && 'acknowledge' in held) {
      const expected = this.#model.acknowledge(client.number, known)
      const outcome = await held.acknowledge().catch((error: unknown) => error)
      same(`acknowledge ${keyText(known.ref)}`, codeOf(outcome), expected)
      return
    }
    if (kind === 'release') this.#model.release(client.number, known)
    else this.#model.giveBack(client.number, known)
    await held[Symbol.asyncDispose]()
  }

  async #sweep({ store }: Client): Promise<void> {
    await store.sweep({ dryRun: false, graceMs: 0 })
    this.#model.sweep()
  }

  async #reopen(index: number): Promise<void> {
    const client = this.#clients[index]
    if (client === undefined) return
    await client.store.close()
    this.#model.close(client.number)
    this.#clients[index] = await this.#open()
  }

  /** Another client fences this one, which does not know. What it does after that must have no effect. */
  async #kill(index: number): Promise<void> {
    const [client, other] = [this.#clients[index], this.#clients[(index + 1) % CLIENTS]]
    if (client === undefined || other === undefined) return
    await other.store.fence(client.store.memberId)
    this.#model.kill(client.number)
    this.#killed.push(client)
    await using source = await synthesize(0, sampleSpecs(2, 2))
    const late = await client.store.put(SampleId.parse('a'), source, about).catch((error: unknown) => error)
    same('a put of a fenced client', codeOf(late), 'STORE_BUSY')
    this.#clients[index] = await this.#open()
  }
}

const isHeld = (outcome: unknown): outcome is Lease | Claim =>
  typeof outcome === 'object' && outcome !== null && 'tensors' in outcome
const text = (digests: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(digests).sort())

function codeOf(outcome: unknown): Expected | string {
  if (!(outcome instanceof Error)) return 'ours'
  return 'code' in outcome ? String(outcome.code) : (outcome.stack ?? outcome.message)
}

function same(what: string, found: string, expected: string): void {
  if (found !== expected) throw new Error(`${what}: ${found}; the model says ${expected}`)
}
