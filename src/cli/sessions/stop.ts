import { STOP_EXIT, type StopSignal } from '../../core/errors.ts'

/** The user's request to stop. The first signal asks for a safe stop, the second ends the process at once. */
export interface Stop {
  readonly signal: AbortSignal
  /** True while this process embeds Python: `process.exit` would wait for the running Python call. */
  embedsPython: boolean
}

/** Listens to SIGINT and SIGTERM. The abort reason is the signal's name, because the exit status depends on it. */
export function listenForStop(print: (text: string) => void): Stop {
  const controller = new AbortController()
  const stop: Stop = { signal: controller.signal, embedsPython: false }
  const onSignal = (name: StopSignal): void => {
    if (!controller.signal.aborted) {
      print('stopping at the next safe point, then saving; a second signal stops at once')
      controller.abort(name)
      return
    }
    if (stop.embedsPython) process.kill(process.pid, 'SIGKILL')
    process.exit(STOP_EXIT[name])
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return stop
}
