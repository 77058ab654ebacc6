import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { SetupProblem } from './problem.mjs'
import { run } from './step.mjs'
import { findNodeHeaders, headerVersion } from './toolchain.mjs'

/** @import { Checkout } from './checkout.mjs' */
/** @import { PythonFacts } from './probe-python.mjs' */

const JOBS = 2
const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-fvisibility=hidden', '-fexceptions']
const DEFINES = [
  'NAPI_CPP_EXCEPTIONS',
  'BUILDING_NODE_EXTENSION',
  'NODE_ADDON_API_DISABLE_DEPRECATED',
  'NAPI_VERSION=8',
]

/**
 * Compiles pymport against exactly this interpreter and puts it where its own loader looks. Its gyp file would take
 * whatever pkg-config calls python3-embed, which may be another Python than the one that runs.
 * @param {Checkout} checkout
 * @param {PythonFacts} facts
 * @param {{ compiler: string[], include: string }} tools
 */
export async function buildBridge({ root, pymport, bridge, state, logs }, facts, { compiler, include }) {
  const work = path.join(state, `build-${process.pid}`)
  mkdirSync(work, { recursive: true })
  mkdirSync(path.dirname(bridge), { recursive: true })
  const includes = [include, path.join(root, 'node_modules/node-addon-api'), facts.include]
  const common = [
    ...compiler,
    ...FLAGS,
    ...defines(pymport).map((one) => `-D${one}`),
    ...includes.map((one) => `-I${one}`),
  ]
  const sources = readdirSync(path.join(pymport, 'src')).filter((name) => name.endsWith('.cc'))
  const objects = sources.map((name) => path.join(work, `${name}.o`))
  try {
    await inParallel(sources, (name) =>
      run([...common, '-c', path.join(pymport, 'src', name), '-o', path.join(work, `${name}.o`)], {
        cwd: work,
        log: path.join(logs, `compile-${name}.log`),
      }),
    )
    const built = path.join(path.dirname(bridge), `.pymport.${process.pid}`)
    const library = [`-L${facts.libdir}`, `-lpython${facts.ldversion}`, `-Wl,-rpath,${facts.libdir}`]
    const link = [...compiler, '-shared', '-o', built, ...objects, ...library]
    await run(link, { cwd: work, log: path.join(logs, 'link.log') })
    // Processes that run on the old file keep it; nobody ever sees half of the new one.
    renameSync(built, bridge)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * The headers beside Node, else those that npm's own node-gyp fetches.
 * @param {Checkout} checkout
 * @param {{ execPath: string, npmRoot: string | null }} node
 * @returns {Promise<string>}
 */
export async function nodeHeaders({ root, state, logs }, { execPath, npmRoot }) {
  const node = { execPath, version: process.version, nodedir: process.env['npm_config_nodedir'] }
  const { include, seen } = findNodeHeaders(node, headerVersion)
  if (include !== null) return include
  const devdir = path.join(state, 'node-headers')
  const fetched = path.join(devdir, process.version.slice(1), 'include/node')
  if (headerVersion(fetched) !== null) return fetched
  const fix =
    'install Node with its headers (Debian and Ubuntu: libnode-dev; nodejs.org archives hold them), or set npm_config_nodedir'
  const explain = `no headers of Node ${process.version}\n    found: ${seen.join('; ')}\n    fix:   ${fix}`
  if (npmRoot === null) throw new SetupProblem(explain)
  const gyp = path.join(npmRoot, 'node_modules/node-gyp/bin/node-gyp.js')
  try {
    await run([execPath, gyp, 'install', '--devdir', devdir], { cwd: root, log: path.join(logs, 'node-headers.log') })
  } catch (cause) {
    throw new SetupProblem(`${explain}\n${cause instanceof Error ? cause.message : cause}`)
  }
  return fetched
}

/** @param {string} pymport */
function defines(pymport) {
  const { version } = JSON.parse(readFileSync(path.join(pymport, 'package.json'), 'utf8'))
  const [numbers = '', suffix = ''] = String(version).split('-')
  const [major, minor, patch] = numbers.split('.')
  const numbered = { MAJOR: major, MINOR: minor, PATCH: patch, SUFFIX: suffix }
  return [...DEFINES, ...Object.entries(numbered).map(([name, value]) => `PYMPORT_VERSION_${name}=${value}`)]
}

/**
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<unknown>} work
 */
async function inParallel(items, work) {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: JOBS }, worker))
}
