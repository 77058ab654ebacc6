import { type BlobKey, keyOfSegment, keySegment } from '../../blob-key.ts'

/** The name of a sample's own file: of its object, or with another suffix of a file that belongs to it. */
export const nameOf = (key: BlobKey, suffix = 'safetensors'): string => `${keySegment(key)}.${suffix}`

/** Null for a name that `nameOf` does not give. `suffix` null: any. */
export function keyOf(name: string, suffix: string | null = 'safetensors'): BlobKey | null {
  const cut = name.lastIndexOf('.')
  const found = name.slice(cut + 1)
  const fits = suffix === null ? /^[a-z0-9]{1,16}$/.test(found) : found === suffix
  return fits ? keyOfSegment(name.slice(0, cut)) : null
}
