import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import { readManifestSoFar, readRefManifest } from '../../../src/refs/manifest.ts'
import { produce } from '../../../src/roles/produce/produce.ts'
import { produceHere } from '../../../src/roles/produce/produce-here.ts'
import { partProcesses } from '../../support/processes.ts'
import { producing } from '../../support/producing.ts'
import { checkHandlesAfterEach } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { trainingInputs, type Watched, watched } from '../../support/training.ts'

checkHandlesAfterEach()

/** So many that none of three processes is done when the first ones have been told. */
const CONVERSATIONS = 400

let inputs = ''
let talks = ''
let digest = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
  talks = path.join(inputs, 'talks.jsonl')
  const lines = Array.from({ length: CONVERSATIONS }, (_, index) => {
    const messages = [
      { role: 'user', content: `question ${index}` },
      { role: 'assistant', content: `answer ${index % 7}` },
    ]
    return `${JSON.stringify({ id: `talk-${index}`, messages })}\n`
  })
  await writeFile(talks, lines.join(''))
  const whole = await scene({})
  await produce(whole, watched())
  digest = (await readRefManifest({ dir: whole.manifest })).refs.contentDigest()
})

async function scene(launch: object): Promise<RunConfig> {
  return producing(inputs, await tempDir(), { data: { conversations: talks, maxLength: 40 }, launch })
}

/** Does `act` once, when samples have been produced. */
function onceProducing(act: (context: Watched) => void): Watched {
  let isDone = false
  const context = watched((body) => {
    if (isDone || body.event !== 'produce.progress' || body.samples === 0) return
    isDone = true
    act(context)
  })
  return context
}

async function expectResumed(config: RunConfig): Promise<void> {
  const before = await readManifestSoFar({ dir: config.manifest })
  expect(before.root.state).toBe('open')
  expect(before.refs.length).toBeGreaterThan(0)
  expect(before.refs.length).toBeLessThan(CONVERSATIONS)
  const context = watched()
  await produceHere(config, context)
  const finished = context.seen.find(({ event }) => event === 'produce.finished')
  expect(finished).toMatchObject({ samples: CONVERSATIONS, inputs: CONVERSATIONS, manifest: config.manifest })
  expect(finished).toHaveProperty('resumed', before.refs.length)
  expect((await readRefManifest({ dir: config.manifest })).refs.contentDigest()).toBe(digest)
}

describe('several processes that capture', () => {
  it('stop in order when they are asked to, and the same command goes on', async () => {
    const config = await scene({ processes: 3 })
    const context = onceProducing(({ abort }) => abort.abort('SIGINT'))
    await expect(produceHere(config, context)).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
    expect((await partProcesses()).size).toBe(0)
    // What decides is what was begun, not what the setting says now.
    await expectResumed({ ...config, launch: { ...config.launch, processes: 2 } })
  })

  it('all end within 10 s when one is killed; the error names it, and the same command goes on', async () => {
    const config = await scene({ processes: 3 })
    let killed = Number.POSITIVE_INFINITY
    const context = onceProducing(() => {
      void partProcesses().then((processes) => {
        killed = performance.now()
        process.kill(processes.get(1) ?? 0, 'SIGKILL')
      })
    })
    const attempt = produceHere(config, context)
    await expect(attempt).rejects.toMatchObject({ code: 'RANK_DIED', details: { rank: 1, signal: 'SIGKILL' } })
    await expect(attempt).rejects.toThrow('part 1 was killed by SIGKILL')
    expect(performance.now() - killed).toBeLessThan(10_000)
    expect((await partProcesses()).size).toBe(0)
    await expectResumed(config)
    expect((await readdir(path.join(config.run.dir, 'logs'))).sort()).toEqual([
      'part-0.log',
      'part-1.log',
      'part-2.log',
    ])
  })

  it('are one, without parts, where one was asked for or a whole manifest was begun', async () => {
    const config = await scene({ processes: 1 })
    const context = onceProducing(({ abort }) => abort.abort('SIGTERM'))
    await expect(produceHere(config, context)).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 143 })
    expect(await produceHere({ ...config, launch: { ...config.launch, processes: 3 } }, watched())).toEqual({
      parts: null,
    })
    expect(await readdir(config.manifest)).not.toContain('part-000')
    expect((await readRefManifest({ dir: config.manifest })).refs.contentDigest()).toBe(digest)
  })

  it('fail with the error of the part that failed, which names the part', async () => {
    const config = await scene({ processes: 2 })
    const missing = { ...config, target: { ...config.target, model: path.join(inputs, 'no-such-target') } }
    await expect(produceHere(missing, watched())).rejects.toThrow(/part: {2}[01]/)
  })
})
