// Runs all tests of both languages and prints one summary line. Arguments are vitest's file filters.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { add, type Counts, fromJunit, fromVitest, summaryLine } from './test-counts.ts'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const python = path.join(root, '.venv/bin/python')

function run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const [program = '', ...args] = command
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' })
    child.on('error', () => resolve(1))
    child.on('close', (status) => resolve(status ?? 1))
  })
}

/** Counts of one runner. A runner that fails without naming a failed test counts as one failure. */
async function counted(
  name: string,
  report: string,
  parse: (text: string) => Counts,
  ...command: Parameters<typeof run>
): Promise<Counts> {
  const status = await run(...command)
  const crashed = { passed: 0, failed: 1, skipped: [], failures: [`${name} ended with status ${status}`] }
  const counts = await readFile(report, 'utf8')
    .then(parse)
    .catch(() => null)
  // A report is written last: without a whole one the runner died.
  if (counts === null) return crashed
  if (counts.passed + counts.failed === 0) return add(counts, { ...crashed, failures: [`${name} ran no test`] })
  return status !== 0 && counts.failed === 0 ? add(counts, crashed) : counts
}

async function testAll(filters: readonly string[]): Promise<Counts> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'draftbridge-test-'))
  try {
    const vitest = path.join(scratch, 'vitest.json')
    const junit = path.join(scratch, 'pytest.xml')
    const reporters = ['--reporter=default', '--reporter=./scripts/test-reporter.ts']
    const node = [process.execPath, 'node_modules/vitest/vitest.mjs', 'run', ...reporters, ...filters]
    const counts = await counted('vitest', vitest, fromVitest, node, { DRAFTBRIDGE_TEST_COUNTS: vitest })
    if (filters.length > 0) return counts
    const pytest = [python, '-m', 'pytest', '-c', 'python/pyproject.toml', '--rootdir', '.', `--junitxml=${junit}`]
    const env = { PYTHONPATH: path.join(root, 'python'), PYTHONDONTWRITEBYTECODE: '1', OMP_WAIT_POLICY: 'PASSIVE' }
    return add(counts, await counted('pytest', junit, fromJunit, [...pytest, 'test/python'], env))
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

const counts = await testAll(process.argv.slice(2))
for (const { name, reason } of counts.skipped) process.stdout.write(`skipped: ${name}: ${reason}\n`)
for (const failure of counts.failures) process.stdout.write(`failed: ${failure}\n`)
if (counts.passed + counts.failed === 0) process.stdout.write('no test ran, which counts as a failure\n')
process.stdout.write(`${summaryLine(counts)}\n`)
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0
