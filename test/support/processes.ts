import { readdir, readFile } from 'node:fs/promises'

/** The rank processes that this process has started and that are still there, by rank. */
export const rankProcesses = (): Promise<ReadonlyMap<number, number>> =>
  ownProcesses(/DRAFTBRIDGE_RANK_SPEC=.*?"rank":(\d+)/)

/** Those that make parts of a manifest, by the index of the part. */
export const partProcesses = (): Promise<ReadonlyMap<number, number>> =>
  ownProcesses(/DRAFTBRIDGE_RANK_SPEC=.*?"part":\{"index":(\d+)/)

/** All rank processes of a run, whoever started them. `dir`: its folder. */
export async function ranksOfRun(dir: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await read(`/proc/${pid}/environ`)
      return environment.includes('DRAFTBRIDGE_RANK_SPEC=') && environment.includes(`"dir":"${dir}"`)
        ? [Number(pid)]
        : []
    }),
  )
  return found.flat()
}

/** The processes of `draftbridge rank` with this config file that torchrun has started, by rank. */
export async function launchedRanks(file: string): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>()
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [line, environment] = await Promise.all([read(`/proc/${pid}/cmdline`), read(`/proc/${pid}/environ`)])
    const rank = /(?:^|\0)RANK=(\d+)/.exec(environment)?.[1]
    if (line.includes('\0rank\0') && line.includes(file) && rank !== undefined) found.set(Number(rank), Number(pid))
  }
  return found
}

/** Children of this process whose environment holds a number of this form, by that number. */
async function ownProcesses(form: RegExp): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>()
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [stat, environment] = await Promise.all([read(`/proc/${pid}/stat`), read(`/proc/${pid}/environ`)])
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    const number = form.exec(environment)?.[1]
    if (parent === process.pid && number !== undefined) found.set(Number(number), Number(pid))
  }
  return found
}

// A process may end between being listed and being read.
const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '')
