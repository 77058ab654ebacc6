import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { architectureNames, architectureOf, registerArchitecture } from '../../src/drafts/registry.ts'

const PROGRAM = `
import json
from draftbridge.drafts.registry import architecture_names, architecture_of
found = {name: architecture_of(name) for name in architecture_names()}
print(json.dumps({name: [{"name": s.name, "source": s.source} for s in a.states] for name, a in found.items()}))
`

it('has the same architectures, which train on the same features, on both sides of the bridge', async () => {
  const python = path.resolve(process.env['DRAFTBRIDGE_VENV'] ?? '.venv', 'bin/python')
  const env = { ...process.env, PYTHONPATH: path.resolve('python') }
  const { stdout } = await promisify(execFile)(python, ['-c', PROGRAM], { env })
  expect(JSON.parse(stdout)).toEqual(
    Object.fromEntries(architectureNames().map((name) => [name, architectureOf(name).states])),
  )
})

it('refuses a name that it does not have, and a name twice', () => {
  expect(() => architectureOf('eagle4')).toThrow(/did you mean eagle3\?/)
  expect(() => registerArchitecture(architectureOf('eagle3'))).toThrow('eagle3 is registered twice')
})
