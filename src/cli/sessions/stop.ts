/** The wish to stop. The first signal asks, the second does not ask any more. */
export interface Stop {
  readonly signal: AbortSignal
  /** Set while this process embeds Python: `process.exit` would wait for the call that is running. */
  embedsPython: boolean
}

const EXIT = { SIGINT: 130, SIGTERM: 143 } as const

/** Listens to SIGINT and SIGTERM. The signal's name is the abort reason, so that the exit code can tell them apart. */
export function listenForStop(say: (text: string) => void): Stop {
  const controller = new AbortController()
  const stop: Stop = { signal: controller.signal, embedsPython: false }
  const hear = (name: 'SIGINT' | 'SIGTERM'): void => {
    if (!controller.signal.aborted) {
      say('stopping at a safe point and saving; a second signal stops at once')
      controller.abort(name)
      return
    }
    if (stop.embedsPython) process.kill(process.pid, 'SIGKILL')
    process.exit(EXIT[name])
  }
  process.on('SIGINT', hear)
  process.on('SIGTERM', hear)
  return stop
}
