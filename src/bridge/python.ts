import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import pLimit, { type LimitFunction } from 'p-limit'
import { CodedError } from '../core/errors.ts'
import { openEnvelope } from './envelope.ts'
import { type Lane, type OpInput, type OpName, type OpOutput, ops } from './ops.ts'

export interface Python {
  /** Runs one op on its lane. Calls of one lane start in the order they were made: one at a time, two on `bulk`. */
  call<K extends OpName>(op: K, input: OpInput<K>): Promise<OpOutput<K>>
}

/** The overhead of the bridge on one lane: the time of the calls minus the run time of their ops. */
export interface LaneCost {
  calls: number
  overheadMs: number
}

/** Running totals of this process. */
export const laneCosts: Readonly<Record<Lane, LaneCost>> = {
  io: { calls: 0, overheadMs: 0 },
  engine: { calls: 0, overheadMs: 0 },
  bulk: { calls: 0, overheadMs: 0 },
}

type PyCall = ReturnType<ReturnType<typeof import('pymport').pymport>['get']>

let embedded: Promise<Python> | undefined

/** The interpreter of this process. CPython cannot be restarted, so all callers share one. */
export function embedPython(): Promise<Python> {
  embedded ??= start()
  return embedded
}

async function start(): Promise<Python> {
  const checkout = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
  const venv = process.env['DRAFTBRIDGE_VENV'] ?? path.join(checkout, '.venv')
  // CPython reads the C environment at start-up, so this must happen before pymport is imported.
  process.env['PYTHONPATH'] = path.join(checkout, 'python')
  process.env['DRAFTBRIDGE_VENV'] = venv
  // OpenMP threads that spin while they wait can make all processes of the machine ten times slower.
  process.env['GOMP_SPINCOUNT'] ??= '10000'
  const { pymport } = loadPymport()
  try {
    // `activate` imports only the standard library: the packages of the virtual environment are not on the path yet.
    await pymport('draftbridge.activate').get('activate').callAsync(venv)
    return lanes(pymport('draftbridge.host').get('call'))
  } catch (cause) {
    throw unavailable('Python starts, but the draftbridge package does not import', cause)
  }
}

/**
 * While it loads, pymport takes the options of this process for its own: with `--dir X` it looks for its files in X. So
 * the options are hidden from it. Synchronously, because other code reads `process.argv` too.
 */
function loadPymport(): typeof import('pymport') {
  const { argv } = process
  process.argv = argv.slice(0, 2)
  try {
    return createRequire(import.meta.url)('pymport')
  } catch (cause) {
    throw unavailable('the Python bridge (pymport) does not load', cause)
  } finally {
    process.argv = argv
  }
}

/** Each pending call blocks one of libuv's four threads, which `fs` needs too. So the lanes limit the calls. */
function lanes(call: PyCall): Python {
  const limits: Record<Lane, LimitFunction> = { io: pLimit(1), engine: pLimit(1), bulk: pLimit(2) }
  return {
    call<K extends OpName>(op: K, input: OpInput<K>): Promise<OpOutput<K>> {
      return limits[ops[op].lane](() => invoke(call, op, input))
    },
  }
}

async function invoke<K extends OpName>(call: PyCall, op: K, input: OpInput<K>): Promise<OpOutput<K>> {
  const begun = performance.now()
  const reply = await call.callAsync(op, JSON.stringify(ops[op].input.parse(input)))
  const { value, seconds } = openEnvelope(op, reply.toJS() as string)
  const output = (ops[op].isPlain(value) ? value : ops[op].output.parse(value)) as OpOutput<K>
  const cost = laneCosts[ops[op].lane]
  cost.calls += 1
  cost.overheadMs += performance.now() - begun - seconds * 1000
  return output
}

function unavailable(what: string, cause: unknown): CodedError {
  const found = cause instanceof Error ? cause.message : String(cause)
  const fix = 'run `npm run setup`, which builds the bridge and checks it'
  return new CodedError('PYTHON_UNAVAILABLE', `${what}\n  found: ${found}\n  fix:   ${fix}`, { found, fix }, { cause })
}
