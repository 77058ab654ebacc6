import { STOP_EXIT, type StopSignal } from '../../core/errors.ts'

/** The request to stop. The first signal aborts `signal`, the second ends the process at once. */
export interface Stop {
  readonly signal: AbortSignal
  /** Set while this process embeds Python: `process.exit` would wait for the call that is running. */
  embedsPython: boolean
}

/** Listens to SIGINT and SIGTERM. The signal's name is the abort reason, so that the exit code can tell them apart. */
export function listenForStop(say: (text: string) => void): Stop {
  const controller = new AbortController()
  const stop: Stop = { signal: controller.signal, embedsPython: false }
  const hear = (name: StopSignal): void => {
    if (!controller.signal.aborted) {
      say('stopping at a safe point and saving; a second signal stops at once')
      controller.abort(name)
      return
    }
    if (stop.embedsPython) process.kill(process.pid, 'SIGKILL')
    process.exit(STOP_EXIT[name])
  }
  process.on('SIGINT', hear)
  process.on('SIGTERM', hear)
  return stop
}
