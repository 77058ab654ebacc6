import { z } from 'zod'
import { FeatureSpec } from '../core/feature-spec.ts'
import { Digest } from '../core/sample-ref.ts'

/**
 * A queue of ops with its own Python threads. `io`: files and CPU tensors, one thread. `engine`: autograd, devices and
 * process groups, one thread. `bulk`: writes of whole samples and checkpoints, two threads, so that one can work while
 * the other waits for the disk.
 */
export type Lane = 'io' | 'engine' | 'bulk'
/** `isPlain`: a fast check for frequent ops. If true, `output` would return the value unchanged and is not run. */
export const op = <I extends z.ZodType, O extends z.ZodType>(
  lane: Lane,
  input: I,
  output: O,
  isPlain: (value: unknown) => boolean = () => false,
) => ({ lane, input, output, isPlain })

export const Int = z.number().int()
export const Count = Int.nonnegative()
export const Handle = Int.positive()
export const Nothing = z.strictObject({})
export const Names = z.array(z.string())
export const Digests = z.record(z.string(), Digest)

export const Minted = z.strictObject({ handle: Handle, features: z.array(FeatureSpec), bytes: Count })
export type Minted = z.output<typeof Minted>

export const Session = z.strictObject({ handle: Handle })
