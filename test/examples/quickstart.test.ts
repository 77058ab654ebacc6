import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newestCheckpoint, quickstartState } from '../../examples/quickstart/quickstart-state.ts'
import { tauNote } from '../../examples/quickstart/tau-note.ts'
import { parseQuickstartArgs } from '../../examples/quickstart/usage.ts'
import { loadConfig } from '../../src/config/load.ts'
import { writeResolvedConfig } from '../../src/config/resolved.ts'
import type { RunConfig } from '../../src/config/schema.ts'
import { EventsFile } from '../../src/report/events/events-file.ts'
import type { Evaluation } from '../../src/report/events/run-history.ts'
import { evaluated, metrics, trainStarted } from '../report/sample-run.ts'

const file = fileURLToPath(new URL('../../examples/quickstart/draftbridge.yaml', import.meta.url))
let dir: string
let config: RunConfig
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-quickstart-'))
  const sets = [`run.dir=${dir}`, `manifest=${dir}/manifest`]
  config = await loadConfig({ file, env: { SMOLLM2_GGUF: '/weights.gguf' }, sets })
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

async function checkpoint(step: string, complete: boolean): Promise<string> {
  const folder = path.join(dir, 'checkpoints', step)
  await mkdir(folder, { recursive: true })
  if (complete) await writeFile(path.join(folder, 'checkpoint.json'), '{}')
  return folder
}

const clock = { now: () => 1 }

describe('its command line', () => {
  it('is refused where it has a word that it does not know', () => {
    expect(parseQuickstartArgs([])).toEqual({ what: 'run' })
    expect(parseQuickstartArgs(['--fresh'])).toEqual({ what: 'fresh' })
    expect(parseQuickstartArgs(['--frsh'])).toEqual({ what: 'unknown', argument: '--frsh' })
    expect(parseQuickstartArgs(['--fresh', '--help'])).toEqual({ what: 'help' })
  })
})

describe('the note on tau', () => {
  const measured = (...taus: number[]) => {
    const bySteps = taus.map((tau, index) => ({ steps: 3 + 2 * index, tau, tokensPerSecond: 1, acceptance: [] }))
    return { ...(evaluated() as Evaluation), bySteps }
  }

  it('says why more steps than were trained for change nothing, and only where it is so', () => {
    expect(tauNote(measured(1.41, 1.41, 1.412), 2)).toContain('the same at 3, 5 and 7 steps')
    expect(tauNote(measured(1.41, 1.45, 1.45), 2)).toBeUndefined()
    expect(tauNote(measured(1.41, 1.41, 1.41), 7)).toBeUndefined()
    expect(tauNote(null, 2)).toBeUndefined()
  })
})

describe('the quickstart', () => {
  it('begins where nothing is', async () => {
    const nothing = { begun: false, featuresReady: false, producerFailed: false, trained: false, measured: false }
    expect(await quickstartState(config)).toEqual(nothing)
  })

  it('goes on from complete features, and not from a manifest that is still open', async () => {
    await writeResolvedConfig(config, { replace: true })
    await mkdir(config.manifest)
    const root = path.join(config.manifest, 'manifest.json')
    await writeFile(root, '{"state":"open"}')
    expect(await quickstartState(config)).toMatchObject({ begun: true, featuresReady: false })
    await writeFile(root, '{"state":"complete"}')
    expect(await quickstartState(config)).toMatchObject({ featuresReady: true, trained: false })
  })

  it('takes the newest checkpoint that is complete', async () => {
    expect(await newestCheckpoint(dir)).toBeNull()
    const whole = await checkpoint('step-000100', true)
    await checkpoint('step-000200', false)
    expect(await newestCheckpoint(dir)).toBe(whole)
  })

  it('is finished once the draft that was trained has been measured, and no other', async () => {
    const draft = await checkpoint('step-000100', true)
    using log = new EventsFile({ dir, runId: 'quickstart', clock })
    for (const body of [trainStarted(null), metrics(100, 4)]) log.emit(body)
    log.emit({ event: 'train.finished', step: 100, seconds: 1, checkpoint: draft })
    log.emit(evaluated())
    expect(await quickstartState(config)).toMatchObject({ trained: true, measured: false })
    log.emit({ ...evaluated(), draft } as ReturnType<typeof evaluated>)
    expect(await quickstartState(config)).toMatchObject({ trained: true, measured: true })
  })

  it('does not mix two settings in one run', async () => {
    await writeResolvedConfig(config, { replace: true })
    const other = { ...config, train: { ...config.train, epochs: 99 } }
    await expect(quickstartState(other)).rejects.toThrow('--fresh')
  })
})
