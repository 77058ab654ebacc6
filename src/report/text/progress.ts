import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import type { EventBody, RunEvent } from '../events/events.ts'
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
  /** Milliseconds between two progress lines where lines cannot be rewritten. */
  readonly every?: number
  readonly time?: Pick<Monotonic, 'now'>
}

/** True if the screen is a terminal that can rewrite a line in place. */
export function canRewrite(screen: Screen, env: NodeJS.ProcessEnv): boolean {
  return screen.isTTY === true && env['TERM'] !== 'dumb' && (env['CI'] ?? '') === ''
}

const CLEAR = '\r\u001b[2K'

/**
 * Shows the progress of a run. A terminal shows one line that is rewritten; other streams get a line every few seconds.
 * Other events get a line of their own. Rates are measured when events are shown: the stamps of events may step.
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
  readonly show = ({ body }: Pick<RunEvent, 'body'>): void => {
    const { quiet, every = 5000, time = monotonic } = this.#options
    if (quiet === true) return
    const now = time.now()
    const step = stepOf(body, now)
    if (step === undefined) {
      this.#showMilestone(body, now)
      return
    }
    if (this.#first?.phase !== step.phase) this.#first = step
    if (this.#live) this.#rewrite(progressLine(body, step, this.#first))
    else if (now - this.#shownAt >= every) {
      this.#shownAt = now
      this.#print(progressLine(body, step, this.#first))
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

  #showMilestone(body: EventBody, now: number): void {
    this.#first = startOf(body, now) ?? this.#first
    const line = progressLine(body)
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
