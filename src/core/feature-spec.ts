import { z } from 'zod'
import { hasOnly, isCount, isList, isText } from './plain.ts'

/** torch's dtype names, with the width of one element in bytes. */
export const dtypeBytes = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
} as const

export type Dtype = keyof typeof dtypeBytes
export const Dtype = z.enum(Object.keys(dtypeBytes) as [Dtype, ...Dtype[]])

/** Describes one tensor and never holds it. */
export const FeatureSpec = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/),
  shape: z.array(z.number().int().nonnegative()).max(8),
  dtype: Dtype,
})
export type FeatureSpec = z.infer<typeof FeatureSpec>

const NAME = /^[a-z][a-z0-9_]{0,63}$/
const MAX_AXES = 8

/** A quick look: what gets a "no" may still be a spec by its schema. */
export function isPlainSpec(given: unknown): given is FeatureSpec {
  if (!hasOnly(given, ['name', 'shape', 'dtype'])) return false
  const { name, shape, dtype } = given
  if (!isText(name, NAME) || typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype)) return false
  return isList(shape) && shape.length <= MAX_AXES && shape.every(isCount)
}

export function specBytes(spec: FeatureSpec): number {
  return spec.shape.reduce((size, width) => size * width, dtypeBytes[spec.dtype])
}
