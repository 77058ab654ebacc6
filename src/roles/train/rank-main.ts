import { runAsRank } from '../../launch/rank-link.ts'
import { rank } from './rank.ts'

// The program of one rank process. The supervisor starts it; its spec is in the environment.
await runAsRank(rank)
