import { existsSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge, type Ended } from '../support/cli.ts'
import { type LostDisk, lostDisk } from '../support/lost-disk.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../support/training.ts'
import { mountAgain, mounted, serverOf, whyNoFuse } from './mounted.ts'

const SAMPLES = 400
/** How soon after the trouble a command has ended. */
const SECONDS = 10
const SILENCE_MS = 5000

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs, SAMPLES)
})

const disks: LostDisk[] = []
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk[Symbol.asyncDispose]()
})

type Skip = (why: string) => never

async function disk(skip: Skip): Promise<LostDisk> {
  const made = await lostDisk()
  if (typeof made === 'string') return skip(made)
  disks.push(made)
  return made
}

async function fuse(skip: Skip): Promise<string> {
  return whyNoFuse === null ? mounted('plain') : skip(whyNoFuse)
}

interface Trouble {
  readonly dir: string
  begin(): void | Promise<void>
  /** Null: what is lost is lost. */
  readonly end: (() => void | Promise<void>) | null
}

const troubles: Readonly<Record<string, (skip: Skip) => Promise<Trouble>>> = {
  'is unmounted': async (skip) => {
    const { dir, unmount, heal } = await disk(skip)
    return { dir, begin: unmount, end: heal }
  },
  'is remounted read-only': async (skip) => {
    const { dir, makeReadOnly, heal } = await disk(skip)
    return { dir, begin: makeReadOnly, end: heal }
  },
  'fails with EIO': async (skip) => {
    const { dir, lose } = await disk(skip)
    return { dir, begin: lose, end: null }
  },
  'loses its FUSE server': async (skip) => {
    const dir = await fuse(skip)
    return { dir, begin: () => void serverOf(dir).kill('SIGKILL'), end: () => mountAgain(dir) }
  },
}

/** The config of a run whose store and manifest are in `dir`; `runToo`: its own folder as well. */
async function scene(dir: string, runToo: boolean) {
  const own = await tempDir()
  const plain = trainingConfig(inputs, { name: 'run', ranks: 1, epochs: 2 })
  const root = path.join(dir, 'store')
  const run = { ...plain.run, dir: path.join(runToo ? dir : own, 'run') }
  const manifest = path.join(dir, 'manifest')
  const file = path.join(own, 'draftbridge.yaml')
  await writeFile(file, stringify({ ...plain, run, store: { ...plain.store, root }, manifest }))
  const events = path.join(run.dir, 'events.ndjson')
  return {
    ingest: () => draftbridge('ingest', '-c', file),
    train: () => draftbridge('train', '-c', file),
    shown: async () => JSON.parse((await draftbridge('manifest', 'show', manifest, '--json')).stdout) as unknown,
    ingesting: () => until(() => shards(root) > 10),
    training: () => until(async () => (await readFile(events, 'utf8').catch(() => '')).includes('"train.metrics"')),
  }
}

async function until(found: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 1200 && !(await found()); round += 1) await sleep(50)
}

const shards = (root: string): number => {
  const dir = path.join(root, 'objects')
  return existsSync(dir) ? readdirSync(dir).length : 0
}

async function endsInTime({ begin }: Trouble, ended: Promise<Ended>): Promise<void> {
  await begin()
  const since = performance.now()
  const { code, stderr } = await ended
  expect(stderr).toContain('STORE_UNAVAILABLE')
  expect(code).toBe(69)
  expect((performance.now() - since) / 1000).toBeLessThan(SECONDS)
}

const [STORE, ALL] = [
  ['its store', false],
  ['all that it has', true],
] as const
/** What the run has on the mount. A kernel refuses to make a mount read-only while a file is open for writing there. */
const placesFor = (name: string) =>
  name === 'is remounted read-only' ? [STORE] : name === 'loses its FUSE server' ? [ALL] : [STORE, ALL]

describe.each(Object.entries(troubles))('a mount that %s under way', (name, make) => {
  // Nothing is made in the folder that the mount had covered.
  const expectUntouched = (dir: string) => {
    if (name === 'is unmounted') expect(readdirSync(dir)).toEqual([])
  }

  it.for(placesFor(name))('ends an ingest, which has %s there', { timeout: 150_000 }, async ([, runToo], context) => {
    const trouble = await make(context.skip)
    const { ingest, ingesting, shown } = await scene(trouble.dir, runToo)
    const ended = ingest()
    await ingesting()
    await endsInTime(trouble, ended)
    expectUntouched(trouble.dir)
    if (trouble.end === null) return
    await trouble.end()
    expect(await ingest()).toMatchObject({ code: 0 })
    expect(await shown()).toMatchObject({ samples: SAMPLES })
  })

  it.for(placesFor(name))('ends a training, which has %s there', { timeout: 240_000 }, async ([, runToo], context) => {
    const trouble = await make(context.skip)
    const { ingest, train, training } = await scene(trouble.dir, runToo)
    expect(await ingest()).toMatchObject({ code: 0 })
    const ended = train()
    await training()
    await endsInTime(trouble, ended)
    expectUntouched(trouble.dir)
    if (trouble.end === null) return
    await trouble.end()
    expect(await train()).toMatchObject({ code: 0 })
  })
})

it('a mount that is silent for a while is waited for', { timeout: 150_000 }, async (context) => {
  const dir = await fuse(context.skip)
  const { ingest, ingesting, train, training } = await scene(dir, false)
  const silence = async () => {
    serverOf(dir).kill('SIGSTOP')
    await sleep(SILENCE_MS)
    serverOf(dir).kill('SIGCONT')
  }
  const produced = ingest()
  await ingesting()
  await silence()
  expect(await produced).toMatchObject({ code: 0 })
  const trained = train()
  await training()
  await silence()
  expect(await trained).toMatchObject({ code: 0 })
})
