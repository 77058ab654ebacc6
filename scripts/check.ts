// Runs every check that is not a test, and prints a line for each. All of them run, even when an early one fails.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkContracts } from './check/contracts.ts'
import { checkDependencies } from './check/dependencies.ts'
import { checkDocMentions } from './check/doc-mentions.ts'
import { checkTrackedFiles } from './check/tracked-files.ts'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name: string) => path.join(root, 'node_modules/.bin', name)
const venv = (name: string) => path.join(root, '.venv/bin', name)
const settings = ['--config', 'python/pyproject.toml']
const PYTHON = ['python', 'test/python', 'scripts']

interface Verdict {
  readonly ok: boolean
  readonly output: string
}

const checks: Record<string, () => Promise<Verdict>> = {
  biome: () => run([bin('biome'), 'check', '--error-on-warnings', '.']),
  tsc: () => run([bin('tsc'), '--noEmit', '-p', '.']),
  layers: async () => checkDependencies(await run([bin('depcruise'), 'src', ...CRUISE])),
  'ruff check': () => run([venv('ruff'), 'check', '--quiet', ...settings, ...PYTHON]),
  'ruff format': () => run([venv('ruff'), 'format', '--check', '--quiet', ...settings, ...PYTHON]),
  mypy: () => run([venv('mypy'), '--config-file', 'python/pyproject.toml', 'python/draftbridge']),
  'Python layers': async () => checkContracts(await run([venv('lint-imports'), ...LINT_IMPORTS])),
  'tracked files': async () => checkTrackedFiles(root, await run(['git', 'ls-files', '-z'])),
  documents: async () => checkDocMentions(root, await run(['git', 'ls-files', '-z'])),
}
const LINT_IMPORTS = ['python/pyproject.toml', '--no-cache', '--no-logo']
const CRUISE = ['--config', '.dependency-cruiser.cjs', '--output-type', 'json']

function run(command: readonly string[]): Promise<Verdict> {
  const [program = '', ...args] = command
  return new Promise((resolve) => {
    const env = { ...process.env, NO_COLOR: '1', PYTHONPATH: path.join(root, 'python') }
    const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    child.on('error', (error) => resolve({ ok: false, output: error.message }))
    child.on('close', (status) => resolve({ ok: status === 0, output }))
  })
}

async function report(name: string, check: () => Promise<Verdict>): Promise<boolean> {
  const begun = performance.now()
  const { ok, output } = await check()
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)\n`)
  if (!ok || name === 'Python layers') process.stdout.write(`${output.trimEnd()}\n`)
  return ok
}

/** Runs two checks at a time: on a small machine more would only slow each other down. */
async function checkAll(): Promise<string[]> {
  const queue = Object.entries(checks)
  const failed: string[] = []
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      if (!(await report(...next))) failed.push(next[0])
    }
  }
  await Promise.all([worker(), worker()])
  return failed
}

const failed = await checkAll()
process.stdout.write(failed.length === 0 ? 'all checks pass\n' : `failed: ${failed.join(', ')}\n`)
process.exitCode = failed.length === 0 ? 0 : 1
