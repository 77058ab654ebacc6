import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import type { z } from 'zod'
import { DataSettings, DraftSettings, EvalSettings, TargetSettings } from '../../src/core/settings/model-settings.ts'
import { TrainSettings } from '../../src/core/settings/train-settings.ts'
import { CaptureContract } from '../../src/core/target-contract.ts'

const sections = { TargetSettings, DataSettings, DraftSettings, EvalSettings, TrainSettings, CaptureContract }

const PROGRAM = `
import json
from draftbridge.settings import capture_contract, model_settings, train_settings
from draftbridge.settings.section import section_fields
modules = (capture_contract, model_settings, train_settings)
found = {name: value for module in modules for name, value in vars(module).items()}
print(json.dumps({name: section_fields(found[name]) for name in ${JSON.stringify(Object.keys(sections))}}))
`

type Fields = { readonly [name: string]: Fields | null }

/** The fields of a section by the rule of section.py; a choice between forms is one value there. */
function fieldsOf(schema: z.ZodType): Fields | null {
  const { def } = schema as unknown as { def: { innerType?: z.ZodType; shape?: Record<string, z.ZodType> } }
  if (def.innerType !== undefined) return fieldsOf(def.innerType)
  if (def.shape === undefined) return null
  const named = Object.entries(def.shape).map(([key, inner]) => [
    key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    fieldsOf(inner),
  ])
  return Object.fromEntries(named) as Fields
}

it('has the same fields in each section on both sides of the bridge', async () => {
  const python = path.resolve(process.env['DRAFTBRIDGE_VENV'] ?? '.venv', 'bin/python')
  const env = { ...process.env, PYTHONPATH: path.resolve('python') }
  const { stdout } = await promisify(execFile)(python, ['-c', PROGRAM], { env })
  const ours = Object.fromEntries(Object.entries(sections).map(([name, schema]) => [name, fieldsOf(schema)]))
  expect(ours['TrainSettings']).toMatchObject({ ttt: { kl_scale: null }, spikes: { factor: null } })
  expect(JSON.parse(stdout)).toEqual(ours)
})
