import { z } from 'zod'
import { type CodedError, finding } from '../core/errors.ts'

// The lines of python/vllm_child/extract_states.py, which describes them.

/** The first line to the child. */
export interface VllmOrder {
  readonly model: string
  readonly dtype: string
  /** Of vLLM, which counts the inputs of layers. */
  readonly layers: readonly number[]
  readonly scratch: string
  readonly maxModelLen: number
  /** Further engine arguments of vLLM. */
  readonly args: Readonly<Record<string, unknown>>
}

const Id = z.number().int().nonnegative()
/** For each position but the last `[token, logprob]` of some tokens that may follow it. */
const Logprobs = z.array(z.array(z.tuple([z.number(), z.number()])))

const FromVllm = z.union([
  z.strictObject({ ready: z.strictObject({ vllm: z.string() }) }),
  z.strictObject({ failed: z.string(), missing: z.boolean() }),
  z.strictObject({ id: Id, file: z.string(), logprobs: Logprobs.nullable() }),
  z.strictObject({ id: Id, error: z.string() }),
])
export type FromVllm = z.output<typeof FromVllm>

/** What vLLM wrote for one sample. */
export interface WrittenStates {
  /** Whole. The receiver removes it. */
  readonly file: string
  readonly logprobs: z.output<typeof Logprobs> | null
}

/** One line of the child. @throws ENGINE_DIED for anything else, such as the output of another program. */
export function parseVllmLine(line: string): FromVllm {
  const message = FromVllm.safeParse(jsonOf(line)).data
  if (message !== undefined) return message
  throw finding('ENGINE_DIED', 'the process of vLLM sent a line that is none of its protocol', {
    field: 'target.vllm.python',
    found: line.slice(0, 200),
    fix: 'name the python of an environment that has vLLM, not another program',
  })
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

export const noInterpreter = (python: string, found: string): CodedError =>
  finding('PYTHON_UNAVAILABLE', 'the interpreter for vLLM cannot be started', {
    file: python,
    field: 'target.vllm.python',
    found,
    fix: NEW_ENVIRONMENT,
  })

export const noVllm = (python: string, found: string): CodedError =>
  finding('PYTHON_UNAVAILABLE', 'vLLM cannot be imported', {
    file: python,
    field: 'target.vllm.python',
    found,
    fix: NEW_ENVIRONMENT,
  })

const NEW_ENVIRONMENT =
  'make an environment for it, `python3 -m venv ~/vllm && ~/vllm/bin/pip install vllm`, and name ~/vllm/bin/python'

/** vLLM ended, or could not load the target. `tail`: the last lines that it printed. */
export function engineDied(what: string, about: { found: string; log: string; tail: readonly string[] }): CodedError {
  const lines = about.tail.length === 0 ? '' : `\n         ${about.tail.join('\n         ')}`
  return finding('ENGINE_DIED', what, {
    file: about.log,
    field: 'target.vllm',
    found: `${about.found}${lines}`,
    fix: 'read the log; engine arguments of vLLM (memory, lengths, parallelism) go into target.vllm.args. The same command goes on with what is stored',
  })
}
