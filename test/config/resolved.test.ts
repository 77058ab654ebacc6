import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { resolvedYaml, writeResolvedConfig } from '../../src/config/resolved.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'draftbridge-config-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

async function load(sets: string[]) {
  const file = path.join(folder, 'draftbridge.yaml')
  await writeFile(file, 'version: 1\ntarget: { model: m.gguf }\n')
  return loadConfig({ file, env: {}, sets })
}

describe('config.resolved.yaml', () => {
  it('gives the same config when it is read again', async () => {
    const config = await load(['run.dir=out', 'train.optimizer.lr=1.0e-7'])
    const file = await writeResolvedConfig(config, { replace: true })
    expect(file).toBe(path.join(folder, 'out/config.resolved.yaml'))
    expect(await readFile(file, 'utf8')).toBe(resolvedYaml(config))
    expect(await loadConfig({ file, env: {} })).toEqual(config)
  })

  it('is not overwritten unless replace is true', async () => {
    const [first, other] = await Promise.all([1, 2].map((seed) => load(['run.dir=kept', `run.seed=${seed}`])))
    if (first === undefined || other === undefined) throw new Error('no config')
    const file = await writeResolvedConfig(first, { replace: false })
    await writeResolvedConfig(other, { replace: false })
    expect(await readFile(file, 'utf8')).toBe(resolvedYaml(first))
    await writeResolvedConfig(other, { replace: true })
    expect(await readFile(file, 'utf8')).toBe(resolvedYaml(other))
  })

  it('names run.dir when the path is a file', async () => {
    const config = await load(['run.dir=draftbridge.yaml'])
    await expect(writeResolvedConfig(config, { replace: true })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field: 'run.dir' },
    })
  })
})
