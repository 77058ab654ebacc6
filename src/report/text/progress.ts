import type { RunEvent } from '../events/events.ts'
import { progressLine, type Step, startOf, stepOf } from './progress-line.ts'

/** A terminal or another text stream. */
export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

export interface ProgressOptions {
  readonly screen: Screen
  readonly env: NodeJS.ProcessEnv
  readonly quiet?: boolean
  /** A prefix of every line, for a screen that several roles share. */
  readonly label?: string
  /** Milliseconds of event time between two progress lines where lines cannot be rewritten. */
  readonly every?: number
}

/** True if the screen is a terminal that can rewrite a line in place. */
export function canRewrite(screen: Screen, env: NodeJS.ProcessEnv): boolean {
  return screen.isTTY === true && env['TERM'] !== 'dumb' && (env['CI'] ?? '') === ''
}

const CLEAR = '\r\u001b[2K'

/**
 * Shows the progress of a run. A terminal shows one line that is rewritten; other streams get a line every few seconds.
 * Other events get a line of their own. All times are those of the events, so a replay prints the same lines.
 */
export class Progress {
  readonly #options: ProgressOptions
  readonly #live: boolean
  #first: Step | undefined
  #shownAt = Number.NEGATIVE_INFINITY
  #liveShown = false

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#live = canRewrite(options.screen, options.env)
  }

  /** Shows one event: a listener of `EventsFile`. */
  readonly show = (event: RunEvent): void => {
    if (this.#options.quiet === true) return
    const step = stepOf(event)
    if (step === undefined) {
      this.#showMilestone(event)
      return
    }
    if (this.#first?.phase !== step.phase) this.#first = step
    if (this.#live) this.#rewrite(progressLine(event, this.#first))
    else if (event.ts - this.#shownAt >= (this.#options.every ?? 5000)) {
      this.#shownAt = event.ts
      this.#print(progressLine(event, this.#first))
    }
  }

  /** Prints a line that stays, above the live line. */
  printLine(text: string): void {
    if (this.#options.quiet === true) return
    this.clear()
    this.#print(text)
  }

  /** Removes the live line. Call it before other code writes to the screen. */
  clear(): void {
    if (!this.#liveShown) return
    this.#options.screen.write(CLEAR)
    this.#liveShown = false
  }

  #showMilestone(event: RunEvent): void {
    this.#first = startOf(event) ?? this.#first
    const line = progressLine(event, undefined)
    if (line !== '') this.printLine(line)
  }

  #print(text: string): void {
    this.#options.screen.write(`${this.#options.label ?? ''}${text}\n`)
  }

  #rewrite(text: string): void {
    const line = `${this.#options.label ?? ''}${text}`
    const width = (this.#options.screen.columns ?? 80) - 1
    this.#options.screen.write(CLEAR + (line.length > width ? `${line.slice(0, width - 1)}…` : line))
    this.#liveShown = true
  }
}
