import { existsSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge } from '../../support/cli.ts'
import { type LostDisk, lostDisk } from '../../support/lost-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../../support/training.ts'

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs, 400)
})

const disks: LostDisk[] = []
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk[Symbol.asyncDispose]()
})

/** The config of a run whose store and manifest are on a disk that can be lost; `runToo`: its own folder as well. */
async function scene(skip: (why: string) => never, runToo: boolean) {
  const disk = await lostDisk()
  if (typeof disk === 'string') return skip(disk)
  disks.push(disk)
  const own = await tempDir()
  const plain = trainingConfig(inputs, { name: 'run', ranks: 1, epochs: 50 })
  const root = path.join(disk.dir, 'store')
  const run = { ...plain.run, dir: path.join(runToo ? disk.dir : own, 'run') }
  const config = { ...plain, run, store: { ...plain.store, root }, manifest: path.join(disk.dir, 'manifest') }
  const file = path.join(own, 'draftbridge.yaml')
  await writeFile(file, stringify(config))
  return { disk, root, file, events: path.join(run.dir, 'events.ndjson') }
}

async function until(found: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 1200 && !(await found()); round += 1) await sleep(50)
}

const objects = (root: string): number => {
  const dir = path.join(root, 'objects')
  return existsSync(dir) ? readdirSync(dir).length : 0
}

it.for([
  ['its store and its manifest', false],
  ['all that it has', true],
] as const)(
  'an ingest that loses %s says that they cannot be reached',
  { timeout: 120_000 },
  async ([, runToo], context) => {
    const { disk, root, file } = await scene(context.skip, runToo)
    const ended = draftbridge('ingest', '-c', file)
    await until(() => objects(root) > 10)
    disk.lose()
    const { code, stderr } = await ended
    expect(stderr).toContain('STORE_UNAVAILABLE')
    expect(code).toBe(69)
  },
)

it.for([
  ['its store', false],
  ['all that it has', true],
] as const)(
  'a training that loses %s says that it cannot be reached',
  { timeout: 180_000 },
  async ([, runToo], context) => {
    const { disk, file, events } = await scene(context.skip, runToo)
    expect(await draftbridge('ingest', '-c', file)).toMatchObject({ code: 0 })
    const ended = draftbridge('train', '-c', file)
    await until(async () => (await readFile(events, 'utf8').catch(() => '')).includes('"train.metrics"'))
    disk.lose()
    const { code, stderr } = await ended
    expect(stderr).toContain('STORE_UNAVAILABLE')
    expect(code).toBe(69)
  },
)
