import { createHash } from 'node:crypto'
import { Generation, SampleId } from '../core/ids.ts'

/** One generation of a sample: what a stored blob is called. It never comes back once it is freed. */
export interface BlobKey {
  readonly sampleId: SampleId
  readonly generation: Generation
}

/** For errors and maps. */
export const keyText = ({ sampleId, generation }: BlobKey): string => `${sampleId}@${generation}`

/** For one segment of a note's or a file's name. */
export const keySegment = ({ sampleId, generation }: BlobKey): string => `${sampleId}.${generation}`

/** Null for a segment that `keySegment` does not give. */
export function keyOfSegment(segment: string): BlobKey | null {
  // A sample id may hold dots itself, so the segment is read from its end.
  const cut = segment.lastIndexOf('.')
  const digits = segment.slice(cut + 1)
  const sampleId = SampleId.safeParse(segment.slice(0, cut))
  const generation = Generation.safeParse(/^[1-9]\d{0,15}$/.test(digits) ? Number(digits) : null)
  return sampleId.success && generation.success ? { sampleId: sampleId.data, generation: generation.data } : null
}

const MAX_CACHED = 1024
// One get or put asks several times for the same sample.
const shards = new Map<SampleId, string>()

/** Which of 256 folders a sample belongs to: each stays small enough to be listed when an error has to be explained. */
export function shardOf(sampleId: SampleId): string {
  const known = shards.get(sampleId)
  if (known !== undefined) return known
  if (shards.size >= MAX_CACHED) shards.clear()
  const shard = createHash('sha256').update(sampleId).digest('hex').slice(0, 2)
  shards.set(sampleId, shard)
  return shard
}
