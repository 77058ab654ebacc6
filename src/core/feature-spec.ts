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

export const FEATURE_NAME = /^[a-z][a-z0-9_]{0,63}$/
const MAX_AXES = 8

/** Describes one tensor and never holds it. */
export const FeatureSpec = z.strictObject({
  name: z.string().regex(FEATURE_NAME),
  shape: z.array(z.number().int().nonnegative()).max(MAX_AXES),
  dtype: Dtype,
})
export type FeatureSpec = z.infer<typeof FeatureSpec>

/** A fast check: true is final, false leaves the decision to the schema. */
export function isPlainSpec(given: unknown): given is FeatureSpec {
  if (!hasOnly(given, ['name', 'shape', 'dtype'])) return false
  const { name, shape, dtype } = given
  if (!isText(name, FEATURE_NAME) || typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype)) return false
  return isList(shape) && shape.length <= MAX_AXES && shape.every(isCount)
}

export function specBytes(spec: FeatureSpec): number {
  return spec.shape.reduce((size, width) => size * width, dtypeBytes[spec.dtype])
}
