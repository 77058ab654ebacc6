// Runs in its own process: CPython can start once per process, and a crash must not end set-up.
// Prints one line of versions. Reads DRAFTBRIDGE_VENV and EXPECTED_PYTHON (for example `3.11.7`); PYTHONPATH must name ./python.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const { pymport } = createRequire(import.meta.url)('pymport')
const IMPORTED = ['numpy', 'safetensors.torch', 'gguf', 'accelerate', 'xxhash', 'transformers']

const venv = process.env['DRAFTBRIDGE_VENV'] ?? ''
const expected = process.env['EXPECTED_PYTHON'] ?? ''
const embedded = String(pymport('platform').get('python_version').call().toJS())
if (embedded !== expected) throw new Error(`the bridge embeds Python ${embedded}, but .venv belongs to ${expected}`)
pymport('draftbridge.activate').get('activate').call(venv)

const sum = pymport('torch').get('ones').call(4).get('sum').call().get('item').call().toJS()
if (sum !== 4) throw new Error(`torch adds four ones to ${String(sum)}`)
for (const name of IMPORTED) pymport(name)

const about = new URL('../../node_modules/pymport/package.json', import.meta.url)
const versionOf = pymport('importlib.metadata').get('version')
const packages = ['torch', 'transformers'].map((name) => `${name} ${versionOf.call(name).toJS()}`)
const bridge = `pymport ${JSON.parse(readFileSync(about, 'utf8')).version}`
process.stdout.write(`node ${process.version}, python ${embedded}, ${[bridge, ...packages].join(', ')}\n`)
