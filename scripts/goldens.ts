/** `npm run goldens -- [--device cuda] [DIR]`: compares the trainer with golden vectors. The comparison itself is Python. */
import { spawnSync } from 'node:child_process'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
const python = path.join(root, '.venv', 'bin', 'python')
const { status, error } = spawnSync(python, ['-m', 'draftbridge.golden.golden_check', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, PYTHONPATH: path.join(root, 'python') },
})
if (error !== undefined) {
  process.stderr.write(`Cannot start ${python}: ${error.message}. Run npm run setup first; it makes the .venv.\n`)
}
process.exitCode = status ?? 70
