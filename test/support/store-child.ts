/** A client of a shared store in a process of its own: a JSON command a line in, a JSON answer a line out, in order. */
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from '../../src/core/errors.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import { SampleRef } from '../../src/core/sample-ref.ts'
import type { Claim, Lease } from '../../src/store/feature-store.ts'
import { type SharedDirStoreOptions, sharedDirFeatureStore } from '../../src/store/open.ts'
import { digestsOf, python, sampleSpecs, synthesize } from './tensors.ts'

export interface Command {
  readonly do: 'put' | 'get' | 'release' | 'claim' | 'acknowledge' | 'giveBack' | 'abort' | 'close' | 'consumeAll'
  readonly sampleId?: string
  readonly seed?: number
  readonly ref?: SampleRef
  readonly refs?: readonly SampleRef[]
  /** How long the work on a claimed sample takes. */
  readonly workMs?: number
  /** Which lease or claim, as `get` and `claim` have numbered it. */
  readonly hold?: number
}

export type Answer = {
  readonly memberId?: string
  readonly ref?: SampleRef
  readonly hold?: number
  readonly digests?: Readonly<Record<string, string>>
  readonly acknowledged?: string
  readonly done?: boolean
  readonly error?: { readonly code: string; readonly message: string }
}

const store = await sharedDirFeatureStore({
  ...(JSON.parse(process.argv[2] ?? '{}') as Omit<SharedDirStoreOptions, 'python'>),
  python,
})
const about = { runId: RunId.parse('run'), numTokens: 6, provenance: {} }
const holds = new Map<number, Lease | Claim>()
const report = (answer: Answer) => process.stdout.write(`${JSON.stringify(answer)}\n`)

async function held(lease: Lease): Promise<Answer> {
  const hold = holds.size + 1
  holds.set(hold, lease)
  return { hold, digests: await digestsOf(lease.tensors) }
}

const refOf = ({ ref }: Command): SampleRef => SampleRef.parse(ref)
const idOf = ({ sampleId }: Command): SampleId => SampleId.parse(sampleId)
function holdOf({ hold }: Command): Lease | Claim {
  const found = holds.get(hold ?? 0)
  if (found === undefined) throw new Error(`no hold ${hold}`)
  return found
}

const handlers: Record<Command['do'], (command: Command) => Promise<Answer>> = {
  put: async (command) => {
    await using source = await synthesize(command.seed ?? 0, sampleSpecs(6))
    return { ref: await store.put(idOf(command), source, about), digests: await digestsOf(source) }
  },
  get: async (command) => held(await store.get(refOf(command))),
  claim: async (command) => held(await store.claim(refOf(command))),
  release: async (command) => {
    await holdOf(command)[Symbol.asyncDispose]()
    return {}
  },
  giveBack: (command) => handlers.release(command),
  acknowledge: async (command) => {
    const hold = holdOf(command)
    if ('acknowledge' in hold) await hold.acknowledge()
    return {}
  },
  abort: async (command) => {
    await store.abort(idOf(command))
    return {}
  },
  consumeAll: async ({ refs = [], workMs = 0 }) => {
    await consumeAll(refs, workMs)
    return { done: true }
  },
  close: async () => {
    await store.close()
    return {}
  },
}

/** Claims, reads and acknowledges samples until all are gone. Reports each one as soon as it is acknowledged. */
async function consumeAll(refs: readonly SampleRef[], workMs: number): Promise<void> {
  let left = refs
  while (left.length > 0) {
    const again: SampleRef[] = []
    for (const ref of left) if (!(await consumed(ref, workMs))) again.push(ref)
    left = again
  }
}

async function consumed(ref: SampleRef, workMs: number): Promise<boolean> {
  try {
    await using claim = await store.claim(ref)
    await digestsOf(claim.tensors)
    if (workMs > 0) await sleep(workMs)
    await claim.acknowledge()
    report({ acknowledged: ref.sampleId })
  } catch (error) {
    if (hasCode(error, 'STORE_BUSY')) return false
    if (!hasCode(error, 'SAMPLE_NOT_FOUND')) throw error
  }
  return true
}

report({ memberId: store.memberId })
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command
  report(
    await handlers[command.do](command).catch((error: unknown) => {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code'
      return { error: { code, message: error instanceof Error ? error.message : String(error) } }
    }),
  )
}
process.exit(0)
