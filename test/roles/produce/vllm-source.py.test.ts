import { execFile } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import type { RunConfig } from '../../../src/config/schema.ts'
import { readRefManifest } from '../../../src/refs/manifest.ts'
import { produceInto } from '../../../src/roles/produce/produce.ts'
import { openStore } from '../../../src/store/open.ts'
import { listing, producing } from '../../support/producing.ts'
import { checkHandlesAfterEach, python } from '../../support/python.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { pythonProgram, watched } from '../../support/training.ts'

checkHandlesAfterEach()

const vllm = process.env['DRAFTBRIDGE_VLLM_PYTHON'] ?? ''
const why = 'DRAFTBRIDGE_VLLM_PYTHON names no interpreter that has vLLM'

/** Compares what two captures stored, without the rounding of another order of sums; in a process of its own. */
const COMPARE = `
import json, sys
import torch
from safetensors.torch import load_file
from draftbridge.target.final_norm import final_norm_in
from draftbridge.target.layer_states import text_decoder
from draftbridge.target.target import load_model
model = load_model(sys.argv[1], torch.float32)
worst = {"ids": 0.0, "aux": 0.0, "last": 0.0, "raw": 0.0}
def far(a, b): return float((a - b).abs().max() / b.abs().max())
for ours, theirs in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
    a, b = load_file(ours), load_file(theirs)
    same = all(torch.equal(a[name], b[name]) for name in ("input_ids", "loss_mask"))
    found = {"ids": 0.0 if same else 1.0, "aux": far(b["aux_hidden_state"], a["aux_hidden_state"])}
    with torch.no_grad(): found["last"] = far(model.model.norm(b["hidden_state"]), a["hidden_state"])
    found["raw"] = far(b["hidden_state"], a["hidden_state"])
    worst = {name: max(worst[name], value) for name, value in found.items()}
print(json.dumps(worst))
`

async function capture(config: RunConfig) {
  await using store = await openStore({ ...config.store, python, retain: true, create: true })
  await produceInto({ config, python, store, context: watched() })
  const { refs, contract } = await readRefManifest({ dir: config.manifest, storeId: store.id })
  const objects = await listing(config.store.root)
  const fileOf = (sampleId: string) => objects.find((name) => path.basename(name).startsWith(`${sampleId}.`)) ?? ''
  return { contract, files: [...refs].map(({ sampleId }) => path.join(config.store.root, fileOf(sampleId))) }
}

it('stores what our own capture stores, but for the last norm', async (context) => {
  if (vllm === '') return context.skip(why)
  const dir = await tempDir()
  const run = promisify(execFile)
  const env = { ...process.env, PYTHONPATH: path.resolve('python') }
  // vLLM on a CPU has no attention for heads of 8, which the tiny target of other tests has.
  await run(pythonProgram, ['test/support/make_tiny_target.py', path.join(dir, 'target'), '--hidden', '128'], { env })
  const talk = (at: number) => ({
    id: `talk-${at}`,
    input_ids: Array.from({ length: 5 + at * 3 }, (_, token) => 3 + ((at * 31 + token * 7) % 250)),
    loss_start: 2,
  })
  const conversations = path.join(dir, 'talks.jsonl')
  await writeFile(conversations, Array.from({ length: 9 }, (_, at) => JSON.stringify(talk(at))).join('\n'))
  const configOf = (engine: RunConfig['target']['engine']) => {
    const target = { model: path.join(dir, 'target'), dtype: 'float32', engine }
    const scratch = path.join(dir, 'scratch')
    const more = { data: { conversations, maxLength: 24 }, target: { ...target, vllm: { python: vllm, scratch } } }
    return producing(dir, path.join(dir, engine), more)
  }
  const ours = await capture(configOf('transformers'))
  const theirs = await capture(configOf('vllm'))
  expect(theirs.contract).toEqual({ ...ours.contract, finalNorm: 'pre', engine: expect.stringMatching(/^vllm \d/) })
  expect(await readdir(path.join(dir, 'scratch'))).toEqual([])
  const files = ours.files.flatMap((file, at) => [file, theirs.files[at] ?? ''])
  expect(files).toHaveLength(18)
  const { stdout } = await run(pythonProgram, ['-c', COMPARE, path.join(dir, 'target'), ...files], { env })
  const worst = JSON.parse(stdout) as Record<'ids' | 'aux' | 'last' | 'raw', number>
  expect(worst.ids).toBe(0)
  expect(worst.aux).toBeLessThan(1e-5)
  expect(worst.last).toBeLessThan(1e-5)
  expect(worst.raw).toBeGreaterThan(1e-2)
})
