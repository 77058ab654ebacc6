import { existsSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge } from '../support/cli.ts'
import { type LostDisk, lostDisk } from '../support/lost-disk.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingConfig, trainingInputs } from '../support/training.ts'

const SAMPLES = 400
/** How soon after the trouble a command has ended. */
const SECONDS = 10

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs, SAMPLES)
})

const disks: LostDisk[] = []
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk[Symbol.asyncDispose]()
})

/** The config of a run whose store and manifest are on a disk of their own. */
async function scene(skip: (why: string) => never) {
  const disk = await lostDisk()
  if (typeof disk === 'string') return skip(disk)
  disks.push(disk)
  const own = await tempDir()
  const plain = trainingConfig(inputs, { name: 'run', ranks: 1, epochs: 2 })
  const root = path.join(disk.dir, 'store')
  const run = { ...plain.run, dir: path.join(own, 'run') }
  const config = { ...plain, run, store: { ...plain.store, root }, manifest: path.join(disk.dir, 'manifest') }
  const file = path.join(own, 'draftbridge.yaml')
  await writeFile(file, stringify(config))
  return { disk, root, file, events: path.join(run.dir, 'events.ndjson') }
}

async function until(found: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 1200 && !(await found()); round += 1) await sleep(50)
}

const shards = (root: string): number => {
  const dir = path.join(root, 'objects')
  return existsSync(dir) ? readdirSync(dir).length : 0
}

const troubles = {
  unmounted: async (disk: LostDisk) => disk.unmount(),
  'remounted read-only': (disk: LostDisk) => disk.makeReadOnly(),
}

describe.each(Object.entries(troubles))('a mount that is %s under way', (name, trouble) => {
  async function endsInTime(disk: LostDisk, ended: ReturnType<typeof draftbridge>) {
    await trouble(disk)
    const since = performance.now()
    const { code, stderr } = await ended
    expect(stderr).toContain('STORE_UNAVAILABLE')
    expect(code).toBe(69)
    expect((performance.now() - since) / 1000).toBeLessThan(SECONDS)
    // Nothing is made in the folder that the mount had covered.
    if (name === 'unmounted') expect(readdirSync(disk.dir)).toEqual([])
    disk.heal()
  }

  it('ends an ingest with a code, and the same command makes the rest', { timeout: 120_000 }, async (context) => {
    const { disk, root, file } = await scene(context.skip)
    const ended = draftbridge('ingest', '-c', file)
    await until(() => shards(root) > 10)
    await endsInTime(disk, ended)
    expect(await draftbridge('ingest', '-c', file)).toMatchObject({ code: 0 })
    const shown = await draftbridge('manifest', 'show', path.join(disk.dir, 'manifest'), '--json')
    expect(JSON.parse(shown.stdout)).toMatchObject({ samples: SAMPLES })
  })

  it('ends a training with a code, and the same command finishes it', { timeout: 240_000 }, async (context) => {
    const { disk, file, events } = await scene(context.skip)
    expect(await draftbridge('ingest', '-c', file)).toMatchObject({ code: 0 })
    const ended = draftbridge('train', '-c', file)
    await until(async () => (await readFile(events, 'utf8').catch(() => '')).includes('"train.metrics"'))
    await endsInTime(disk, ended)
    expect(await draftbridge('train', '-c', file)).toMatchObject({ code: 0 })
  })
})
