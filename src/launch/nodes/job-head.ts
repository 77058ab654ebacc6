import { randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { finding } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import { greetMember } from './handshake.ts'
import { failureOf, JobVerdict, nodeText, peerError } from './job-failure.ts'
import { JobLink } from './job-link.ts'
import { type FromHead, FromMember, type Hello, type JobPlan, parsed } from './job-message.ts'
import { JOB_NOTE } from './job-note.ts'
import { LineSocket } from './line-socket.ts'

const LOOK_MS = 200
/** A member tries all addresses at once; whoever else connects is turned away beyond that. */
const CONNECTIONS_OF_NODE = 32

export interface HeadOptions {
  /** The run folder, which all nodes see. */
  readonly dir: string
  readonly host: string
  /** Of the pool, this one included. */
  readonly nodes: number
  /** Where this node can be reached, best first. */
  readonly addresses: readonly string[]
  readonly settings: Hello['settings']
  readonly timeoutSeconds: number
  readonly signal: AbortSignal
  /** The nodes that have not joined yet. Called when their number changes. */
  readonly onWaiting?: (missing: readonly number[]) => void
  readonly onEvent?: (body: unknown) => void
  readonly time?: Monotonic
}

interface Member {
  readonly node: number
  readonly hello: Hello
  readonly link: JobLink<FromMember, FromHead>
  done: boolean
  /** Of this node, on the connection. */
  readonly localAddress: string | null
}

/**
 * The first node of a training pool. The others find it by a note in the run folder, join over TCP, and get their ranks.
 * From then on the failure of one node ends all.
 */
export class JobHead implements AsyncDisposable {
  /** Aborted when another node has failed; the reason is the error of this node. */
  readonly broken: AbortSignal
  readonly #options: HeadOptions
  readonly #time: Monotonic
  readonly #server: Server
  readonly #token: string
  readonly #members = new Map<number, Member>()
  readonly #verdict = new JobVerdict()
  readonly #broken = new AbortController()
  /** What this node itself could not do with a message. */
  #own: unknown = null
  /** `met`: all are there, and nobody else may join or go. */
  #state: 'meeting' | 'met' | 'over' = 'meeting'

  static async open(options: HeadOptions): Promise<JobHead> {
    const server = createServer()
    const port = await listening(server)
    const token = randomBytes(32).toString('hex')
    const head = new JobHead(options, server, token)
    const { host, addresses, dir } = options
    const note = { v: 1, host, addresses, port, token }
    try {
      await replaceFile(path.join(dir, JOB_NOTE), `${JSON.stringify(note)}\n`, 0o600)
    } catch (error) {
      server.close()
      throw error
    }
    return head
  }

  private constructor(options: HeadOptions, server: Server, token: string) {
    this.#options = options
    this.#time = options.time ?? monotonic
    this.#server = server
    this.#token = token
    this.broken = this.#broken.signal
    server.maxConnections = CONNECTIONS_OF_NODE * options.nodes
    this.#server.on('connection', (socket: Socket) => void this.#admit(new LineSocket(socket)))
    void this.#verdict.decided.then((failure) => {
      this.#state = 'over'
      for (const { link } of this.#members.values()) link.send({ type: 'failed', failure })
      if (failure.node !== 0) this.#broken.abort(peerError(failure))
    })
  }

  /**
   * Waits until all nodes have joined; what each says of itself, by its number from 1.
   * @throws PEER_TIMEOUT naming the nodes that are missing, CONFIG_INVALID when a node has other settings.
   */
  async meet(): Promise<readonly Hello[]> {
    const { signal, onWaiting, timeoutSeconds } = this.#options
    const until = this.#time.now() + timeoutSeconds * 1000
    let told = ''
    for (;;) {
      this.broken.throwIfAborted()
      throwIfStopped(signal, 'stopped while waiting for the other nodes of the training pool')
      const missing = this.#missing()
      if (missing.length === 0) {
        this.#state = 'met'
        return this.#joined()
      }
      if (told !== missing.join()) onWaiting?.(missing)
      told = missing.join()
      if (this.#time.now() > until) throw this.#tooLate(missing)
      await this.#time.sleep(LOOK_MS, signal).catch(() => undefined)
    }
  }

  /** Gives each member its plan, by its number from 1. @throws the error of a member that has gone since `meet`. */
  start(plans: readonly JobPlan[]): void {
    this.broken.throwIfAborted()
    for (const { node, link } of this.#members.values()) {
      const plan = plans[node - 1]
      if (plan !== undefined) link.send({ type: 'plan', plan })
    }
  }

  /** This node is about to fail: its processes still have to end. */
  tell(error: unknown): void {
    this.#verdict.report(failureOf({ node: 0, host: this.#options.host }, error))
  }

  /** Tells all nodes that this one has failed. The error to end with: that of another node when it was the cause. */
  async failed(error: unknown): Promise<unknown> {
    if (this.#own !== null) return this.#own
    this.tell(error)
    const failure = await this.#verdict.decided
    return failure.node === 0 ? error : peerError(failure)
  }

  /** The address of this node that its members are connected to; null when none is. */
  get localAddress(): string | null {
    return [...this.#members.values()][0]?.localAddress ?? null
  }

  /** Resolves once the ranks of all members have ended well. @throws the error of a member that has failed instead. */
  async settled(): Promise<void> {
    while ([...this.#members.values()].some(({ done }) => !done)) {
      this.broken.throwIfAborted()
      await this.#time.sleep(LOOK_MS)
    }
    this.#state = 'over'
    for (const { link } of this.#members.values()) link.send({ type: 'over' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'over'
    this.#server.close()
    for (const { link } of this.#members.values()) link.finish()
  }

  #missing(): readonly number[] {
    const others = Array.from({ length: this.#options.nodes - 1 }, (_, index) => index + 1)
    return others.filter((node) => !this.#members.has(node))
  }

  #joined(): readonly Hello[] {
    const members = [...this.#members.values()].sort((a, b) => a.node - b.node)
    for (const { node, hello } of members) expectSame(this.#options.settings, hello, node)
    return members.map(({ hello }) => hello)
  }

  async #admit(line: LineSocket): Promise<void> {
    const node = await greetMember(line, this.#token)
    if (node === null) return line.close()
    line.trust()
    const first = parsed(FromMember, await line.next(HELLO_MS))
    if (first?.type === 'failed') this.#failedBefore(node, first)
    // A member tries all addresses, and says hello over one of them.
    if (first?.type !== 'hello') return line.close()
    const hello = first
    const why = this.#whyNot(node)
    if (why !== null) {
      line.send(JSON.stringify({ type: 'busy', why } satisfies FromHead))
      return line.finish()
    }
    const link = new JobLink<FromMember, FromHead>({
      line,
      schema: FromMember,
      onMessage: (message) => this.#take(node, message),
      onGone: (why) => this.#gone(node, why),
      time: this.#time,
    })
    this.#members.set(node, { node, hello, link, done: false, localAddress: line.localAddress })
  }

  /** A node that could not even join. */
  #failedBefore(node: number, { host, code, message }: Extract<FromMember, { type: 'failed' }>): void {
    if (this.#state === 'meeting') this.#verdict.report({ node, host: host ?? 'unknown host', code, message })
  }

  #whyNot(node: number): string | null {
    const { nodes } = this.#options
    if (node < 1 || node >= nodes) return `${nodes} nodes train, and this is to be number ${node} of them, from 0`
    const there = this.#members.get(node)
    if (there !== undefined) return `${nodeText({ node, host: there.hello.host })} is there already`
    return this.#state === 'meeting' ? null : 'the job has begun without this process'
  }

  #take(node: number, message: FromMember): void {
    const member = this.#members.get(node)
    if (member === undefined) return
    if (message.type === 'event') this.#pass(message.body)
    else if (message.type === 'done') member.done = true
    else if (message.type === 'failed') {
      const { code, message: text } = message
      this.#verdict.report({ node, host: member.hello.host, code, message: text })
    }
  }

  #pass(body: unknown): void {
    try {
      this.#options.onEvent?.(body)
    } catch (error) {
      this.#own ??= error
      this.tell(error)
      this.#broken.abort(error)
    }
  }

  #gone(node: number, why: string): void {
    const member = this.#members.get(node)
    if (member === undefined || this.#state === 'over') return
    // Before the start a node may come back.
    if (this.#state === 'meeting') this.#members.delete(node)
    else this.#verdict.report({ node, host: member.hello.host, code: 'PEER_FAILED', message: why })
  }

  #tooLate(missing: readonly number[]): Error {
    const { nodes, timeoutSeconds, dir } = this.#options
    return finding('PEER_TIMEOUT', 'not all nodes of the training pool have come', {
      file: dir,
      field: 'launch.nodes',
      found: `training node ${missing.join(', ')} (of 0 to ${nodes - 1}) missing after ${timeoutSeconds} s`,
      fix: 'start the command on all nodes; each must see this run folder and reach this node over the network',
    })
  }
}

const HELLO_MS = 10_000

function expectSame(mine: Hello['settings'], { settings, host }: Hello, node: number): void {
  for (const field of new Set([...Object.keys(mine), ...Object.keys(settings)])) {
    if (mine[field] === settings[field]) continue
    throw finding('CONFIG_INVALID', `${nodeText({ node, host })} has other settings than training node 0`, {
      field,
      found: `${settings[field] ?? 'nothing'}; ${mine[field] ?? 'nothing'} on training node 0`,
      fix: 'start all nodes with the same config and the same version of draftbridge',
    })
  }
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}
