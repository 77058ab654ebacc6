import { runAsRank } from '../../launch/rank-link.ts'
import { producePart } from './produce-part.ts'

// The program of a process that makes one part. The supervisor starts it; its spec is in the environment.
await runAsRank(producePart)
