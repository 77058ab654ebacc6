/** A process that runs operations while faults are injected, or checks what they left. One JSON request or answer per line. */
import { mkdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { embedPython } from '../../src/bridge/python.ts'
import { CodedError } from '../../src/core/errors.ts'
import { type Before, operations } from './operations.ts'
import { brokenPromises } from './promises.ts'

export type Request =
  | { readonly do: 'prepare'; readonly operation: string; readonly dir: string }
  | { readonly do: 'run'; readonly operation: string; readonly dir: string; readonly before: Before }
  | { readonly do: 'check'; readonly operation: string; readonly dir: string; readonly before: Before }

export interface Answer {
  readonly before?: Before
  readonly broken?: readonly string[]
  /** The code of the error with which the operation failed, or `no code`. */
  readonly failed?: string
  readonly message?: string
}

const answer = async (request: Request): Promise<Answer> => {
  const operation = operations[request.operation]
  if (operation === undefined) throw new Error(`no operation ${request.operation}`)
  if (request.do === 'prepare') {
    await mkdir(request.dir, { recursive: true })
    return { before: await operation.prepare(request.dir) }
  }
  if (request.do === 'check') return { broken: await brokenPromises(request.dir, request.operation, request.before) }
  await operation.run(request.dir, request.before)
  return {}
}

const failure = (error: unknown): Answer => {
  if (error instanceof CodedError) return { failed: error.code, message: error.message }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { failed: 'no code', message }
}

// Python is loaded before the first request, so that its calls do not count as calls of an operation.
const python = await embedPython()
await python.call('host.live', {})
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
say({})
for await (const line of createInterface({ input: process.stdin })) {
  say(await answer(JSON.parse(line) as Request).catch(failure))
}
process.exit(0)
