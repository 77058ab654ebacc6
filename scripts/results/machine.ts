import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'
import path from 'node:path'
import { checkout, venvPython } from './checkout.ts'

/** What a figure depends on: name and value, in the order in which a result file lists them. */
export function describeMachine(): readonly (readonly [string, string])[] {
  const [cpu] = cpus()
  return [
    ['commit', commit()],
    ['cpu', `${cpu?.model.trim() ?? 'unknown'}, ${cpus().length} cores`],
    ['memory', `${(totalmem() / 2 ** 30).toFixed(0)} GiB`],
    ['gpu', output('nvidia-smi', '--query-gpu=name', '--format=csv,noheader')?.replaceAll('\n', ', ') ?? 'none'],
    ['kernel', `Linux ${release()}`],
    ['versions', `node ${process.versions.node}, ${pythonVersions()}`],
  ]
}

/** The commit that was measured. In a copy without git, for example on a GPU machine, BENCH_COMMIT names it. */
function commit(): string {
  const given = process.env['BENCH_COMMIT']
  if (given !== undefined) return given
  const head = output('git', '-C', checkout, 'rev-parse', '--short', 'HEAD')
  if (head === undefined) return 'unknown: not a git checkout, and BENCH_COMMIT is not set'
  const changed = output('git', '-C', checkout, 'status', '--porcelain', '--untracked-files=no', '--', 'src', 'python')
  return changed === '' ? head : `${head} with uncommitted changes in src or python`
}

function pythonVersions(): string {
  const script =
    'import platform, importlib.metadata as m; print("python", platform.python_version() + ",", "torch", m.version("torch"))'
  return output(venvPython(), '-c', script) ?? 'no python'
}

/** What a program prints, trimmed; undefined when it cannot be run or fails. */
function output(program: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** What to type to measure the same again. Absolute paths belong to one machine and stand as DIR. */
export function commandLine(argv: readonly string[], env: NodeJS.ProcessEnv): string {
  const [, script = '', ...args] = argv
  const shown = args.map((arg) => {
    const portable = arg.replace(/^(--[\w-]+=)?\/.*/, '$1DIR')
    return /^[\w.,:=@+-]+$/.test(portable) ? portable : `'${portable}'`
  })
  const task = env['npm_lifecycle_event']
  if (task === undefined) return [`node --import tsx ${path.relative(checkout, script)}`, ...shown].join(' ')
  return [`npm run ${task}`, ...(shown.length > 0 ? ['--', ...shown] : [])].join(' ')
}
