import { connect } from 'node:net'
import path from 'node:path'
import { finding } from '../../core/errors.ts'
import { throwIfStopped } from '../../core/interruption.ts'
import { type Monotonic, monotonic } from '../../core/liveness/monotonic.ts'
import { interfaceOf } from './addresses.ts'
import { greetHead } from './handshake.ts'
import { failureOf, peerError } from './job-failure.ts'
import { JobLink } from './job-link.ts'
import { FromHead, type FromMember, type Hello, type JobNote, type JobPlan, type Reached } from './job-message.ts'
import { JOB_NOTE, readJobNote } from './job-note.ts'
import { LineSocket } from './line-socket.ts'

const LOOK_MS = 500
const CONNECT_MS = 3000
/** How long the head is given to say which node was the cause of a failure. */
const VERDICT_MS = 6000

export interface JoinOptions {
  /** The run folder, which all nodes see. */
  readonly dir: string
  readonly node: number
  readonly host: string
  readonly ranks: number
  readonly settings: Hello['settings']
  readonly timeoutSeconds: number
  readonly signal: AbortSignal
  /** Called with what keeps this node waiting, when that changes. */
  readonly onWaiting?: (why: string) => void
  readonly time?: Monotonic
}

/** Joins the pool whose first node waits in `dir`. @throws PEER_TIMEOUT when it does not come, or does not let this one in. */
export async function joinJob(options: JoinOptions): Promise<JobMember> {
  const { dir, signal, timeoutSeconds, onWaiting, time = monotonic } = options
  let [since, told] = [time.now(), '']
  for (;;) {
    throwIfStopped(signal, 'stopped while waiting for the first node of the training pool')
    const tried = await tryToJoin(options)
    if (tried instanceof JobMember) return tried
    if (tried.waited) since = time.now()
    if (tried.why !== told) onWaiting?.(tried.why)
    told = tried.why
    if (time.now() - since > timeoutSeconds * 1000) throw tooLate(dir, timeoutSeconds, tried.why)
    await time.sleep(LOOK_MS, signal).catch(() => undefined)
  }
}

const tooLate = (dir: string, seconds: number, why: string): Error =>
  finding('PEER_TIMEOUT', 'this node could not join the training pool', {
    file: path.join(dir, JOB_NOTE),
    found: `${why}, for ${seconds} s`,
    fix: 'start the command on all nodes; all must see the same run.dir and reach each other over the network',
  })

interface NotJoined {
  readonly why: string
  /** True when the head was there, and has gone while this node waited with it. */
  readonly waited: boolean
}

async function tryToJoin(options: JoinOptions): Promise<JobMember | NotJoined> {
  const note = await readJobNote(options.dir)
  if (note === null) return { why: 'training node 0, the first one, has not begun', waited: false }
  const found = await reachable(note, options.node)
  const [line, ...others] = found.map((one) => one.line)
  for (const other of others) other.close()
  if (line === undefined) return { why: silenceOf(note), waited: false }
  return JobMember.join(
    line,
    found.map((one) => one.reached),
    options,
  )
}

const silenceOf = ({ host, addresses }: JobNote): string =>
  `training node 0 has not begun again; its last start was on ${host}, and nothing of it answers at ${addresses.join(', ')}`

interface Connection {
  readonly line: LineSocket
  readonly reached: Reached
}

/** Connections to the head at each of its addresses that leads to it from here. */
async function reachable({ addresses, port, token }: JobNote, node: number): Promise<readonly Connection[]> {
  const tries = addresses.map(async (address): Promise<Connection | null> => {
    const line = await connected(address, port)
    if (line === null) return null
    if (await greetHead(line, token, node)) {
      line.trust()
      return { line, reached: { address, interface: interfaceOf(line.localAddress) } }
    }
    line.close()
    return null
  })
  return (await Promise.all(tries)).filter((one) => one !== null)
}

function connected(host: string, port: number): Promise<LineSocket | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_MS)
    socket.once('connect', () => {
      clearTimeout(timer)
      resolve(new LineSocket(socket))
    })
    socket.once('error', () => {
      clearTimeout(timer)
      resolve(null)
    })
  })
}

/** A node of a training pool that is not its first one. */
export class JobMember implements AsyncDisposable {
  /** Its ranks among all. Set before anybody sees this object. */
  readonly plan: JobPlan
  /** The network interface towards the first node; null when it is not known. */
  readonly interface: string | null
  /** Aborted when another node has failed; the reason is the error of this node. */
  readonly broken: AbortSignal
  readonly #line: MemberLine

  /** Says hello, and waits for the plan. */
  static async join(
    line: LineSocket,
    reached: readonly Reached[],
    options: JoinOptions,
  ): Promise<JobMember | NotJoined> {
    const { host, ranks, settings, signal } = options
    const own = new MemberLine(line, options)
    own.send({ type: 'hello', host, ranks, settings, reached: [...reached] })
    const stop = () => own.stopWaiting()
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    try {
      const answer = await own.answer
      if (signal.aborted) {
        own.send({ type: 'failed', code: 'INTERRUPTED', message: 'stopped before the training began' })
        own.finish()
        return { why: 'stopped', waited: true }
      }
      if ('plan' in answer) return new JobMember(own, answer.plan, reached)
      own.finish()
      if ('error' in answer) throw answer.error
      return answer
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  private constructor(line: MemberLine, plan: JobPlan, reached: readonly Reached[]) {
    this.#line = line
    this.plan = plan
    this.broken = line.broken
    this.interface = reached.find(({ address }) => address === plan.masterAddr)?.interface ?? null
  }

  event(body: unknown): void {
    this.#line.send({ type: 'event', body })
  }

  /** This node is about to fail: its processes still have to end. */
  tell(error: unknown): void {
    this.#line.tell(error)
  }

  /** Tells all nodes that this one has failed. The error to end with: that of another node when it was the cause. */
  failed(error: unknown): Promise<unknown> {
    return this.#line.failed(error)
  }

  /** The ranks of this node have ended well: waits for the others. @throws the error of one that has failed instead. */
  async settled(): Promise<void> {
    this.#line.send({ type: 'done' })
    await this.#line.over
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#line.finish()
  }
}

type Answer = { readonly plan: JobPlan } | { readonly error: Error } | NotJoined

/** What the head says to one member. */
class MemberLine {
  readonly broken: AbortSignal
  readonly answer: Promise<Answer>
  /** Resolves when all nodes have ended well. */
  readonly over: Promise<void>
  readonly #broken = new AbortController()
  readonly #link: JobLink<FromHead, FromMember>
  readonly #options: JoinOptions
  readonly #time: Monotonic
  #answered: (answer: Answer) => void = () => undefined
  #ended: () => void = () => undefined
  /** The error to end with, null for the own one. */
  readonly #verdict: Promise<unknown>
  #decide: (error: unknown) => void = () => undefined
  #told = false
  #isOver = false

  constructor(line: LineSocket, options: JoinOptions) {
    this.#options = options
    this.#time = options.time ?? monotonic
    this.broken = this.#broken.signal
    this.answer = new Promise((resolve) => {
      this.#answered = resolve
    })
    this.over = new Promise((resolve, reject) => {
      this.#ended = resolve
      this.broken.addEventListener('abort', () => reject(this.broken.reason))
    })
    this.over.catch(() => undefined)
    this.#verdict = new Promise((resolve) => {
      this.#decide = resolve
    })
    this.#link = new JobLink<FromHead, FromMember>({
      line,
      schema: FromHead,
      onMessage: (message) => this.#take(message),
      onGone: (why) => this.#gone(why),
      time: this.#time,
    })
  }

  send(message: FromMember): void {
    this.#link.send(message)
  }

  stopWaiting(): void {
    this.#answered({ why: 'stopped', waited: true })
  }

  finish(): void {
    this.#link.finish()
  }

  tell(error: unknown): void {
    if (this.#told || this.broken.aborted) return
    this.#told = true
    const { code, message } = failureOf(this.#options, error)
    this.send({ type: 'failed', code, message })
  }

  async failed(error: unknown): Promise<unknown> {
    if (this.broken.aborted) return this.broken.reason
    this.tell(error)
    const late = this.#time.sleep(VERDICT_MS).then(() => null)
    return (await Promise.race([this.#verdict, late])) ?? error
  }

  #take(message: FromHead): void {
    if (message.type === 'plan') this.#answered({ plan: message.plan })
    else if (message.type === 'busy') this.#answered({ why: message.why, waited: false })
    else if (message.type === 'over') {
      this.#isOver = true
      this.#ended()
    } else if (message.type === 'failed') {
      if (message.failure.node === this.#options.node) this.#decide(null)
      else this.#break(peerError(message.failure))
    }
  }

  #gone(why: string): void {
    if (this.#isOver) return
    this.#answered({ why: 'training node 0 has gone again', waited: true })
    this.#break(peerError({ node: 0, host: 'the first one', code: 'PEER_FAILED', message: why }))
  }

  #break(error: Error): void {
    this.#answered({ error })
    this.#decide(error)
    this.#broken.abort(error)
  }
}

/** For a node that cannot join: tells the head why, if it is there. */
export async function tellHead(options: Pick<JoinOptions, 'dir' | 'node' | 'host'>, error: unknown): Promise<void> {
  const note = await readJobNote(options.dir)
  if (note === null) return
  const { code, message } = failureOf(options, error)
  const text = JSON.stringify({ type: 'failed', code, message, host: options.host } satisfies FromMember)
  for (const { line } of await reachable(note, options.node)) {
    line.send(text)
    line.finish()
  }
}
