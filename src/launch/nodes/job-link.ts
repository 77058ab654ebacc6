import type { z } from 'zod'
import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import { parsed } from './job-message.ts'
import type { LineSocket } from './line-socket.ts'

const ALIVE_MS = 1000
/** Six messages get lost before the other side counts as gone, and the job still ends within 10 s. */
const SILENT_MS = 6000

export interface JobLinkOptions<In> {
  readonly line: LineSocket
  readonly schema: z.ZodType<In>
  readonly onMessage: (message: In) => void
  /** Called once: the connection broke, or the other side was silent for too long. Not after `finish` and `close`. */
  readonly onGone: (why: string) => void
  readonly time?: Monotonic
}

/** Messages between two supervisors of one job, and whether the other one lives. */
export class JobLink<In extends { readonly type: string }, Out extends { readonly type: string }> {
  readonly #options: JobLinkOptions<In>
  readonly #time: Monotonic
  readonly #timer: { stop(): void }
  #heard: number
  #ticked: number
  #over = false

  constructor(options: JobLinkOptions<In>) {
    this.#options = options
    this.#time = options.time ?? monotonic
    this.#heard = this.#time.now()
    this.#ticked = this.#heard
    this.#timer = this.#time.every(ALIVE_MS, () => this.#tick())
    void this.#read()
  }

  send(message: Out): void {
    this.#options.line.send(JSON.stringify(message))
  }

  /** Ends the connection once everything that was sent is on its way. */
  finish(): void {
    this.#end()
    this.#options.line.finish()
  }

  close(): void {
    this.#end()
    this.#options.line.close()
  }

  async #read(): Promise<void> {
    const { line, schema, onMessage } = this.#options
    for (;;) {
      const text = await line.next()
      if (text === null) return this.#gone('its connection was closed')
      this.#heard = this.#time.now()
      const message = parsed(schema, text)
      if (this.#over) return
      if (message !== null && message.type !== 'alive') onMessage(message)
    }
  }

  #tick(): void {
    this.#options.line.send('{"type":"alive"}')
    const now = this.#time.now()
    // This process itself stood still, and could not hear anybody meanwhile.
    if (now - this.#ticked > 3 * ALIVE_MS) this.#heard = now
    this.#ticked = now
    if (now - this.#heard > SILENT_MS) this.#gone(`nothing was heard of it for ${SILENT_MS / 1000} s`)
  }

  #gone(why: string): void {
    if (this.#over) return
    this.close()
    this.#options.onGone(why)
  }

  #end(): void {
    this.#over = true
    this.#timer.stop()
  }
}
