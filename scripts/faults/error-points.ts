import { type TracedCall, touches } from './traced-calls.ts'
import type { Answer } from './worker.ts'

const ERRORS = ['ENOSPC', 'EDQUOT', 'EIO', 'EINTR', 'EMFILE'] as const
type Errno = (typeof ERRORS)[number]

/** Calls that remove. When one of them fails, what it should have removed may stay until the next gc. */
export const REMOVING = /^(unlink|rmdir|rename)/
const NEEDING_ROOM = /^(openat|p?write|mkdir|link|rename|symlink|ftruncate|fallocate|copy_file_range|fsync|fdatasync)/

export interface Point {
  /** The thread that makes the call: its index among all threads of the process, oldest first. */
  readonly thread: number
  readonly call: string
  readonly nth: number
  readonly errno: Errno
}

/** Which of an operation's calls are made to fail. `ends`: only the first and the last call of each name. */
export type Extent = 'all' | 'ends'

const canFail = (call: string, errno: Errno): boolean => {
  if (errno === 'EMFILE') return call === 'openat'
  if (errno === 'EDQUOT') return call === 'pwrite64'
  return errno === 'ENOSPC' ? NEEDING_ROOM.test(call) : true
}

/** The calls of a traced run that are to fail, each with the errors that it can have. */
export function pointsOf(
  calls: readonly TracedCall[],
  threads: readonly string[],
  dir: string,
  extent: Extent,
): readonly Point[] {
  const groups = new Map<string, TracedCall[]>()
  for (const call of calls.filter((each) => touches(each, dir))) {
    const group = `${call.thread} ${call.name}`
    groups.set(group, [...(groups.get(group) ?? []), call])
  }
  return [...groups.values()].flatMap((group) =>
    (extent === 'all' ? group : ends(group)).flatMap(({ name, nth, thread }) =>
      ERRORS.filter((errno) => canFail(name, errno)).map((errno) => {
        return { call: name, nth, errno, thread: threads.indexOf(thread) }
      }),
    ),
  )
}

const ends = (group: readonly TracedCall[]): readonly TracedCall[] => [
  ...new Set([...group.slice(0, 1), ...group.slice(-1)]),
]

/** What is wrong with the answer of an operation into which `errno` was injected; nothing when it is right. */
export function wrongAnswer({ call, errno }: Pick<Point, 'call' | 'errno'>, { failed, message }: Answer): string[] {
  if (errno === 'EINTR') return failed === undefined ? [] : [`an interrupted call was not repeated: ${message}`]
  const right = errno === 'ENOSPC' || errno === 'EDQUOT' ? 'STORE_FULL' : 'STORE_UNAVAILABLE'
  if (failed === right) return []
  if (failed !== undefined) return [`failed with ${failed}, not ${right}: ${message}`]
  return call === 'fsync' ? ['a failed fsync was not reported'] : []
}
