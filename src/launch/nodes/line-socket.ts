import type { Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'

/** More than any message of a job has; whoever sends a longer line is none of ours. */
const LONGEST_LINE = 1024 * 1024
/** The same for messages by which a stranger proves who it is. */
const LONGEST_PROOF = 4096

/** Lines of text over a connection. Never throws: a connection that breaks ends the lines. */
export class LineSocket {
  readonly #socket: Socket
  readonly #decoder = new StringDecoder('utf8')
  readonly #waiting: string[] = []
  #text = ''
  #ended = false
  #longest = LONGEST_PROOF
  #wake: () => void = () => undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#take(this.#decoder.write(chunk)))
    const end = () => {
      this.#ended = true
      this.#wake()
    }
    socket.on('error', end)
    socket.on('close', end)
    // The other side has closed: nothing that is still said here would be heard.
    socket.on('end', () => this.close())
  }

  /** This machine's address on the connection. */
  get localAddress(): string | null {
    return this.#socket.localAddress ?? null
  }

  /** The other side has proved who it is. */
  trust(): void {
    this.#longest = LONGEST_LINE
  }

  send(line: string): void {
    if (!this.#ended && !this.#socket.destroyed) this.#socket.write(`${line}\n`)
  }

  /** The next line; null once the connection has ended, or after `ms`, when it is closed. */
  async next(ms?: number): Promise<string | null> {
    const timer = ms === undefined ? undefined : setTimeout(() => this.close(), ms)
    try {
      while (this.#waiting.length === 0 && !this.#ended) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      return this.#waiting.shift() ?? null
    } finally {
      clearTimeout(timer)
    }
  }

  /** What was sent before is still delivered. */
  finish(): void {
    this.#socket.end()
  }

  close(): void {
    this.#socket.destroy()
    this.#ended = true
    this.#wake()
  }

  #take(text: string): void {
    const lines = `${this.#text}${text}`.split('\n')
    this.#text = lines.pop() ?? ''
    if (this.#text.length > this.#longest) {
      this.close()
      return
    }
    this.#waiting.push(...lines)
    this.#wake()
  }
}
