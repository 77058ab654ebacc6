import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** System calls that can change a file system. `openat` counts only when it creates a file. */
const CALLS = [
  ...['openat', 'write', 'writev', 'pwrite64', 'pwritev', 'fsync', 'fdatasync', 'ftruncate', 'fallocate'],
  ...['rename', 'renameat', 'renameat2', 'link', 'linkat', 'symlink', 'symlinkat', 'unlink', 'unlinkat'],
  ...['mkdir', 'mkdirat', 'rmdir', 'utimensat', 'copy_file_range', 'sendfile', 'ioctl'],
]

/** One call as strace prints it. */
export interface TracedCall {
  readonly thread: string
  readonly name: string
  readonly line: string
  /** Which call of this name it is in its thread, counted from 1 as strace's `when=` does. */
  readonly nth: number
}

export interface Trace extends AsyncDisposable {
  /** All calls so far, in order. */
  readonly calls: readonly TracedCall[]
}

/** Why no process can be traced here, or null. */
export function whyNoStrace(): string | null {
  try {
    execFileSync('strace', ['-qq', '-o', '/dev/null', 'true'], { stdio: 'pipe' })
    return null
  } catch (error) {
    const found = error instanceof Error ? error.message.split('\n').slice(0, 2).join(': ') : String(error)
    return `strace does not work here (apt-get install strace; ptrace must be allowed): ${found}`
  }
}

interface TraceOptions {
  readonly pid: number
  /** Only this thread is traced, so that calls of other threads do not count. */
  readonly thread?: number
  /** An expression in strace's syntax, such as `unlink:error=EIO:when=2`. `ALL` stands for every traced call. */
  readonly inject?: string
  readonly onLine?: (line: string) => void
}

/** strace could not attach, because the thread had ended. */
export class NotAttached extends Error {}

/** Attaches strace to a process and all its threads, now and to come. */
export async function trace({ pid, thread, inject, onLine }: TraceOptions): Promise<Trace> {
  const all = CALLS.join(',')
  const traced = thread === undefined ? ['-f', '-p', String(pid)] : ['-p', String(thread)]
  const args = ['-y', '-s', '0', '-e', `trace=${all}`, ...traced]
  if (inject !== undefined) args.push('-e', `inject=${inject.replace('ALL', all)}`)
  const child = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const calls: TracedCall[] = []
  const counts = new Map<string, number>()
  const lines = createInterface({ input: child.stderr })
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => reject(new NotAttached('strace ended before it was attached')))
    lines.on('line', (line) => {
      if (line.includes(' attached')) resolve()
      const [, caller = String(thread ?? pid), name = ''] = /^(?:\[pid +(\d+)\] )?([a-z0-9_]+)\(/.exec(line) ?? []
      if (name !== '') {
        const nth = (counts.get(`${caller} ${name}`) ?? 0) + 1
        counts.set(`${caller} ${name}`, nth)
        calls.push({ thread: caller, name, line, nth })
      }
      onLine?.(line)
    })
  })
  return {
    calls,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      await closed
    },
  }
}

/** Whether the call changed, or would have changed, something below `dir`. */
export const touches = ({ name, line }: Pick<TracedCall, 'name' | 'line'>, dir: string): boolean =>
  line.includes(`${dir}/`) && (name !== 'openat' || line.includes('O_CREAT'))
