import { writeFile } from 'node:fs/promises'
import { CodedError } from '../../core/errors.ts'

/**
 * Writes why this rank failed to where torchrun looks for it: the form of the error files of
 * torch.distributed.elastic.multiprocessing.errors. torchrun then prints it as the cause of the whole job's failure.
 */
export async function writeTorchelasticError(
  error: unknown,
  seconds: number,
  file = process.env['TORCHELASTIC_ERROR_FILE'] ?? '',
): Promise<void> {
  if (file === '') return
  const text = error instanceof Error ? error.message : String(error)
  const message = error instanceof CodedError ? `${error.code}: ${text}` : text
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  // torch reads the time as a whole number of seconds, and an exit status of that kind as `errorCode`.
  const extraInfo = { py_callstack: stack, timestamp: String(Math.floor(seconds)) }
  const errorCode = error instanceof CodedError ? error.exitCode : 70
  await writeFile(file, JSON.stringify({ message: { message, errorCode, extraInfo } }))
}
