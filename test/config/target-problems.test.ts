import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { tempDir } from '../support/temp-dir.ts'

async function load(...sets: readonly string[]) {
  const file = path.join(await tempDir(), 'draftbridge.yaml')
  await writeFile(file, 'version: 1\ntarget: { model: target, vllm: { python: venv/bin/python } }\n')
  return loadConfig({ file, env: {}, sets })
}

describe('target.engine vllm', () => {
  it('takes any engine argument by the name that vLLM has for it, and paths from the folder of the config', async () => {
    const { target } = await load('target.engine=vllm', 'target.vllm.args.tensor_parallel_size=2')
    expect(target.vllm.args).toEqual({ tensor_parallel_size: 2 })
    expect(path.isAbsolute(target.vllm.python ?? '')).toBe(true)
  })

  it.each([
    ['target.vllm.python=null', 'target.vllm.python'],
    ['target.model=a.gguf', 'target.model'],
    ['data.teacher=true', 'data.teacher'],
    ['target.vllm.args.hf_overrides={}', 'target.vllm.args.hf_overrides'],
    ['target.devices=all', 'target.devices'],
    ['launch.processes=2', 'launch.processes'],
    ['target.vllm.args.dtype=float16', 'target.vllm.args.dtype'],
  ])('refuses %s, which only this engine cannot do', async (set, field) => {
    await expect(load('target.engine=vllm', set)).rejects.toThrow(`  ${field}\n    file:     --set ${set}`)
    await expect(load('target.engine=transformers', set)).resolves.toBeDefined()
    await expect(load('target.engine=vllm', 'features.source=files', set)).resolves.toBeDefined()
  })
})
