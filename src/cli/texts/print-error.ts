import { CodedError } from '../../core/errors.ts'
import { storageError } from '../../core/files/storage-error.ts'

/** Text for stderr and the exit status of anything that was thrown. Stacks show for bugs, and when asked for. */
export function describeError(thrown: unknown, verbose: boolean): { text: string; exitCode: number } {
  // A file system may refuse any of its calls, those too that nobody has words of his own for.
  const error = storageError(thrown, 'not said by the system', 'a file or folder')
  if (error instanceof CodedError) return { text: coded(error, verbose), exitCode: error.exitCode }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { text: `draftbridge: this is a bug, please report it\n${stack}`, exitCode: 70 }
}

function coded(error: CodedError, verbose: boolean): string {
  const head = `draftbridge: ${error.code}: ${error.message}`
  if (error.code === 'INTERRUPTED') return head
  if (!verbose) return `${head}\n  more:  draftbridge explain ${error.code}`
  return [head, error.stack ?? '', ...causes(error)].join('\n')
}

/** What lies under an error, down to the Python traceback if there is one. */
function causes(error: Error): string[] {
  const { cause } = error
  if (!(cause instanceof Error)) return cause === undefined ? [] : [`caused by: ${String(cause)}`]
  return [`caused by: ${cause.stack ?? cause.message}`, ...causes(cause)]
}
