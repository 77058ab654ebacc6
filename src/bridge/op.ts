import { z } from 'zod'
import { FeatureSpec } from '../core/feature-spec.ts'
import { Digest } from '../core/sample-ref.ts'

/**
 * `io`: files and CPU tensors. `engine`: autograd, devices, process groups. One Python thread each. `bulk`: whole samples
 * into the store and checkpoints into their folders, on two threads, because a thread that waits for the disk leaves the
 * other one its turn.
 */
export type Lane = 'io' | 'engine' | 'bulk'
/** `isPlain`: a fast check for hot ops. True: `output` would accept the value unchanged. False: `output` decides. */
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
