import { createHash } from 'node:crypto'
import { Generation, SampleId } from '../../core/ids.ts'
import type { BlobKey } from '../backend.ts'

// A sample id may hold dots itself, so the name is read from its end.
const OBJECT = /^(?<sampleId>.+)\.(?<generation>[1-9]\d{0,15})\.(?<suffix>[a-z0-9]{1,16})$/

/** The name of a sample's own file: of its object, or with another suffix of a file that belongs to it. */
export const nameOf = ({ sampleId, generation }: BlobKey, suffix = 'safetensors'): string =>
  `${sampleId}.${generation}.${suffix}`

/** Null for a name that `nameOf` does not give. */
export function keyOf(name: string, suffix: string | null = 'safetensors'): BlobKey | null {
  const groups = OBJECT.exec(name)?.groups
  if (suffix !== null && groups?.['suffix'] !== suffix) return null
  const sampleId = SampleId.safeParse(groups?.['sampleId'])
  const generation = Generation.safeParse(Number(groups?.['generation']))
  return sampleId.success && generation.success ? { sampleId: sampleId.data, generation: generation.data } : null
}

/** 256 directories keep each one small enough to be listed when an error has to be explained. */
export function shardOf(sampleId: SampleId): string {
  const known = recent.get(sampleId)
  if (known !== undefined) return known
  if (recent.size >= MOST_RECENT) recent.clear()
  const shard = createHash('sha256').update(sampleId).digest('hex').slice(0, 2)
  recent.set(sampleId, shard)
  return shard
}

// One get or put asks several times.
const MOST_RECENT = 1024
const recent = new Map<SampleId, string>()
