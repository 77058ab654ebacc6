import type { StopSignal } from '../../core/errors.ts'

/** The user's request to stop. Disposed, no signal is listened to any more: each ends the process at once. */
export interface Stop extends Disposable {
  readonly signal: AbortSignal
}

/**
 * Listens to SIGINT and SIGTERM. The abort reason is the signal's name, because the exit status depends on it.
 *
 * The first signal asks for a safe stop and is the last one that is listened to. The kernel ends the process at the second
 * one (exit status 130 or 143 in a shell), so no thread that waits in a system call or in Python can delay it, as it can
 * delay `process.exit`.
 */
export function listenForStop(print: (text: string) => void): Stop {
  const controller = new AbortController()
  const unlisten = (): void => {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  const onSignal = (name: StopSignal): void => {
    unlisten()
    print('stopping at the next safe point, then saving; a second signal stops at once')
    controller.abort(name)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return { signal: controller.signal, [Symbol.dispose]: unlisten }
}
