import { isErrno } from '../../core/errors.ts'

const EXIT_OUTPUT_LOST = 70

/**
 * Work goes on without its output. A reader such as `head` may go away early; then the exit code is that of the work. Where
 * standard output cannot be written for another reason, such as a full disk, a success ends with exit code 70.
 */
export function outliveOutput(print: (text: string) => void): void {
  let isLost = false
  process.stderr.on('error', () => undefined)
  process.stdout.on('error', (error) => {
    if (isLost || isGone(error)) return
    isLost = true
    print(`standard output cannot be written (${error.message}); the work goes on without it`)
  })
  process.on('exit', () => {
    if (isLost && (process.exitCode ?? 0) === 0) process.exitCode = EXIT_OUTPUT_LOST
  })
}

const isGone = (error: Error): boolean =>
  isErrno(error, 'EPIPE') || ('code' in error && error.code === 'ERR_STREAM_DESTROYED')
