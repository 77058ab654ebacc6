import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { LAUNCHED_ENV } from '../../core/launched-env.ts'

export interface LocalNodes {
  /** The words that start draftbridge with the command that each node runs. */
  readonly command: readonly string[]
  readonly nodes: number
  /** Of each node, beside the environment of this process. */
  readonly env: (node: number) => Readonly<Record<string, string>>
  readonly graceSeconds: number
  /** Aborted: all nodes are asked to stop and to save. */
  readonly signal: AbortSignal
  /** A line that a node has printed. */
  readonly onLine: (node: number, line: string) => void
}

export interface NodeFailure {
  readonly node: number
  readonly exitCode: number
}

/**
 * Runs all nodes of a job on this machine, each as a process of its own. The first failure ends all: SIGTERM, then SIGKILL
 * after the grace. The nodes end with this process, however it ends.
 */
export async function runLocalNodes(given: LocalNodes): Promise<NodeFailure | null> {
  const [program = '', ...args] = given.command
  const children = Array.from({ length: given.nodes }, (_, node) => {
    const places = { NODE_RANK: String(node), NUM_NODES: String(given.nodes), [LAUNCHED_ENV]: '1' }
    return execa(program, args, {
      env: { ...places, ...given.env(node) },
      stdio: ['ignore', 'pipe', 'pipe'],
      buffer: false,
      reject: false,
      cleanup: false,
      forceKillAfterDelay: false,
    })
  })
  const stop = () => {
    for (const child of children) child.kill('SIGTERM')
  }
  given.signal.addEventListener('abort', stop)
  if (given.signal.aborted) stop()
  let failure: NodeFailure | null = null
  const ended = children.map(async (child, node) => {
    const shown = [child.stdout, child.stderr].map(async (stream) => {
      for await (const line of createInterface({ input: stream })) given.onLine(node, line)
    })
    const { exitCode = 137 } = await child
    await Promise.all(shown)
    if (exitCode === 0 || failure !== null) return
    failure = { node, exitCode }
    stop()
    // What the others have to say takes a moment; a node that does not stop is not waited for.
    void sleep(given.graceSeconds * 1000, undefined, { ref: false }).then(() => {
      for (const other of children) other.kill('SIGKILL')
    })
  })
  try {
    await Promise.all(ended)
    return failure
  } finally {
    given.signal.removeEventListener('abort', stop)
  }
}
