import { z } from 'zod'
import { finding } from '../../core/errors.ts'

/** The variables by which a launcher tells each process its rank. docs/nodes.md has the same table. */
const SOURCES = [
  {
    launcher: 'torchrun',
    rank: 'RANK',
    localRank: 'LOCAL_RANK',
    worldSize: 'WORLD_SIZE',
    localRanks: 'LOCAL_WORLD_SIZE',
    restart: 'TORCHELASTIC_RESTART_COUNT',
  },
  {
    launcher: 'srun',
    rank: 'SLURM_PROCID',
    localRank: 'SLURM_LOCALID',
    worldSize: 'SLURM_NTASKS',
    localRanks: 'SLURM_TASKS_PER_NODE',
    restart: 'SLURM_RESTART_COUNT',
  },
] as const

const Whole = z
  .string()
  .regex(/^\d{1,7}$/)
  .transform(Number)
/** Slurm writes `8(x2)` for two nodes of eight, and `8(x2),4` where the last one has four: the largest number comes first. */
const LocalRanks = z
  .string()
  .transform((text) => Number(/^\d+/.exec(text)?.[0]))
  .pipe(z.number().int().positive())
const Positive = Whole.pipe(z.number().positive())

/** A rank that somebody else's launcher has started. */
export interface LaunchedRank {
  readonly launcher: string
  readonly rank: number
  readonly localRank: number
  readonly worldSize: number
  /** Ranks on this node. */
  readonly localRanks: number
  readonly masterAddr: string
  readonly masterPort: number
  /** How often the launcher has started the job again. */
  readonly restart: number
}

/**
 * @throws CONFIG_INVALID naming the variable that is missing or wrong.
 */
export function launchedRank(env: NodeJS.ProcessEnv): LaunchedRank {
  const source = SOURCES.find(({ rank }) => (env[rank] ?? '') !== '')
  if (source === undefined) throw nowhere()
  const read = <T>(name: string, form: z.ZodType<T>, expected: string): T => {
    const parsed = form.safeParse(env[name] === '' ? undefined : env[name])
    if (parsed.success) return parsed.data
    const found = env[name] === undefined ? 'not set' : `${name}=${env[name]}`
    throw wrong(name, found, expected)
  }
  const worldSize = read(source.worldSize, Positive, 'the number of ranks')
  const rank = read(source.rank, Whole, 'the number of this rank')
  if (rank >= worldSize) throw wrong(source.rank, String(rank), `a number below ${source.worldSize}=${worldSize}`)
  return {
    launcher: source.launcher,
    rank,
    worldSize,
    localRank: read(source.localRank, Whole, 'the number of this rank on its node'),
    localRanks: read(source.localRanks, LocalRanks, 'the number of ranks on this node'),
    masterAddr: read('MASTER_ADDR', z.string().min(1), 'the address of the node with rank 0'),
    masterPort: read('MASTER_PORT', Whole.pipe(z.number().min(1).max(65_535)), 'a free port of that node'),
    restart: read(source.restart, Whole.default(0), 'a number of restarts'),
  }
}

const wrong = (field: string, found: string, expected: string): Error =>
  finding('CONFIG_INVALID', 'a variable of the launcher is missing or wrong', {
    field,
    found,
    fix: `set it to ${expected}`,
  })

const nowhere = (): Error =>
  finding('CONFIG_INVALID', 'no launcher has told this process its rank', {
    field: SOURCES.map(({ rank }) => rank).join(' or '),
    found: 'none of them',
    fix: 'start it by torchrun or srun (docs/nodes.md has the lines), or use `draftbridge train`, which starts the ranks itself',
  })
