import { CodedError } from '../../core/errors.ts'
import { storageError } from '../../core/files/storage-error.ts'
import { printable } from '../../report/printable.ts'
import { SELF } from '../flags.ts'

/** The stderr text and the exit status of anything thrown. Shows the stack for bugs, and with `verbose`. */
export function describeError(thrown: unknown, verbose: boolean): { text: string; exitCode: number } {
  // Any file system call may fail. Errors that no code has translated get a code here.
  const error = storageError(thrown, 'unknown path', 'a file or folder')
  // An error may quote an input.
  if (error instanceof CodedError) return { text: printable(coded(error, verbose)), exitCode: error.exitCode }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { text: `draftbridge: this is a bug, please report it\n${stack}`, exitCode: 70 }
}

function coded(error: CodedError, verbose: boolean): string {
  const head = `draftbridge: ${error.code}: ${error.message}`
  if (error.code === 'INTERRUPTED') return head
  if (!verbose) return `${head}\n  help:  ${SELF} explain ${error.code}`
  return [head, error.stack ?? '', ...causes(error)].join('\n')
}

/** The causes of an error, down to the Python traceback if there is one. */
function causes(error: Error): string[] {
  const { cause } = error
  if (!(cause instanceof Error)) return cause === undefined ? [] : [`caused by: ${String(cause)}`]
  return [`caused by: ${cause.stack ?? cause.message}`, ...causes(cause)]
}
