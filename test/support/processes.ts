import { readdir, readFile } from 'node:fs/promises'

/** The rank processes that this process has started and that are still there, by rank. */
export async function rankProcesses(): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>()
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [stat, environment] = await Promise.all([read(`/proc/${pid}/stat`), read(`/proc/${pid}/environ`)])
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    const rank = /DRAFTBRIDGE_RANK_SPEC=.*?"rank":(\d+)/.exec(environment)?.[1]
    if (parent === process.pid && rank !== undefined) found.set(Number(rank), Number(pid))
  }
  return found
}

// A process may end between being listed and being read.
const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '')
