import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ClaimFiles } from '../../../src/core/liveness/claim-files.ts'
import { takeClaim } from '../../../src/core/liveness/take-claim.ts'
import type { Verdict } from '../../../src/core/liveness/watch.ts'
import { everyInterleaving, type Step } from '../../support/interleavings.ts'
import { tempDir } from '../../support/temp-dir.ts'

const STALLED = 'stalled'

/** Claim files whose deciding operations each wait for their turn. `fences: false` is a rule that must be found wrong. */
class SteppedFiles extends ClaimFiles {
  readonly #step: Step
  readonly #fences: boolean

  constructor(dir: string, step: Step, fences: boolean) {
    super(dir, 'train')
    this.#step = step
    this.#fences = fences
  }

  override async create(...given: Parameters<ClaimFiles['create']>): Promise<boolean> {
    await this.#step()
    return super.create(...given)
  }

  override async holder(): ReturnType<ClaimFiles['holder']> {
    await this.#step()
    return super.holder()
  }

  override async fence(id: string): Promise<void> {
    await this.#step()
    if (this.#fences) await super.fence(id)
  }

  override async move(...given: Parameters<ClaimFiles['move']>): Promise<boolean> {
    await this.#step()
    return super.move(...given)
  }
}

/** Sees the stalled holder as dead, though it is not, and everybody else as living. */
const wrong = {
  look: async (id: string, read: () => Promise<string | null>): Promise<Verdict> => ({
    state: id === STALLED || (await read()) === null ? 'dead' : 'living',
  }),
  settle: async () => undefined,
}

/** Two that want the claim of one that is stalled, and wakes up at any moment to publish. What went wrong. */
async function race(dir: string, fences: boolean, run: (tasks: ((step: Step) => Promise<void>)[]) => Promise<void>) {
  const plain = new ClaimFiles(dir, 'train')
  await plain.prepare(STALLED, 'note')
  await plain.create({ epoch: 1, id: STALLED })
  const target = path.join(dir, 'result')
  // Without the sync of a real publication, which decides nothing here and takes most of the time.
  const publish = async (id: string) => {
    const staged = plain.publishing(id).file('result')
    await writeFile(staged, id)
    await rename(staged, target)
  }
  const holders: string[] = []
  const wrongs: string[] = []
  const contender = (id: string) => async (step: Step) => {
    await plain.prepare(id, 'note')
    const epoch = await takeClaim(new SteppedFiles(dir, step, fences), id, 'train', { watch: wrong }).catch(() => null)
    if (epoch === null) return
    holders.push(id)
    if (epoch !== 2) wrongs.push(`${id} has epoch ${epoch}`)
    await publish(id)
  }
  const wakesUp = async (step: Step) => {
    await step()
    const late = holders.length > 0
    const published = await publish(STALLED).then(
      () => true,
      () => false,
    )
    if (late && published) wrongs.push('the fenced holder published')
  }
  await run([contender('a'), contender('b'), wakesUp])
  if (holders.length !== 1) wrongs.push(`held by ${holders.join(' and ') || 'nobody'}`)
  const text = await readFile(target, 'utf8')
  if (text !== holders[0]) wrongs.push(`the result is that of ${text}`)
  return wrongs
}

async function explored(fences: boolean) {
  const root = await tempDir()
  const wrongs = new Set<string>()
  let runs = 0
  await everyInterleaving(async (run) => {
    runs += 1
    const dir = path.join(root, String(runs))
    await mkdir(dir)
    for (const each of await race(dir, fences, run)) wrongs.add(each)
    return wrongs.size === 0
  })
  return { runs, wrongs: [...wrongs] }
}

describe('two that take over from a stalled holder, in every order of their steps', () => {
  it('end up with one holder, and the stalled one publishes nothing after it', async () => {
    const { runs, wrongs } = await explored(true)
    expect(wrongs).toEqual([])
    expect(runs).toBeGreaterThan(300)
  }, 120_000)

  it('would not, without the fence', async () => {
    expect((await explored(false)).wrongs).toContain('the fenced holder published')
  }, 120_000)
})
