import type { RunEvent } from '../events/events.ts'
import { progressLine, type Step, startOf, stepOf } from './progress-line.ts'

/** The part of a terminal stream that progress needs. */
export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

export interface ProgressOptions {
  readonly screen: Screen
  readonly env: NodeJS.ProcessEnv
  readonly quiet?: boolean
  /** Stands before every line, for a screen that several roles share. */
  readonly label?: string
  /** Least milliseconds between two plain progress lines. */
  readonly every?: number
}

/** True where a line may be rewritten in place: a terminal that says it can. */
export function canRewrite(screen: Screen, env: NodeJS.ProcessEnv): boolean {
  return screen.isTTY === true && env['TERM'] !== 'dumb' && (env['CI'] ?? '') === ''
}

const CLEAR = '\r\u001b[2K'

/**
 * Shows a run while it goes. On a terminal one line is rewritten; anywhere else there is a line every few seconds.
 * Milestones stay. Time is that of the events, so a replay shows what the run showed.
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

  readonly hear = (event: RunEvent): void => {
    if (this.#options.quiet === true) return
    const step = stepOf(event)
    if (step === undefined) {
      this.#hearMilestone(event)
      return
    }
    if (this.#first?.phase !== step.phase) this.#first = step
    if (this.#live) this.#rewrite(progressLine(event, this.#first))
    else if (event.ts - this.#shownAt >= (this.#options.every ?? 5000)) {
      this.#shownAt = event.ts
      this.#print(progressLine(event, this.#first))
    }
  }

  /** A line that stays, above the live one. */
  say(text: string): void {
    if (this.#options.quiet === true) return
    this.clear()
    this.#print(text)
  }

  /** Takes the live line away; call it before anything else writes to the screen. */
  clear(): void {
    if (!this.#liveShown) return
    this.#options.screen.write(CLEAR)
    this.#liveShown = false
  }

  #hearMilestone(event: RunEvent): void {
    this.#first = startOf(event) ?? this.#first
    const line = progressLine(event, undefined)
    if (line !== '') this.say(line)
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
