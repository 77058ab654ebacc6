import { z } from 'zod'
import { DataSettings, DraftSettings, TargetSettings } from '../core/settings/model-settings.ts'
import { CaptureContract } from '../core/target-contract.ts'
import { Count, Handle, Int, Minted, op } from './op.ts'

const Ids = z.array(Count)

/** Ops for a target that runs in vLLM, in another process. `capture.encode` takes their session too. */
export const vllmOps = {
  /** Loads the tokenizer, the head and the last norm, not the target. */
  'vllm.open': op(
    'engine',
    z.strictObject({ target: TargetSettings, data: DataSettings, draft: DraftSettings, auxLayers: z.array(Count) }),
    z.strictObject({
      handle: Handle,
      contract: CaptureContract,
      /** What vLLM must extract, by its own numbers. */
      layers: z.array(Int.positive()),
      /** The most tokens of a sample. */
      positions: Int.positive(),
      /** The tokens of the probe. */
      probe: Ids,
    }),
  ),
  /** Compares vLLM's logprobs of the probe with those that training would rebuild from the states in `file`. */
  'vllm.probe': op(
    'engine',
    z.strictObject({
      session: Handle,
      file: z.string(),
      logprobs: z.array(z.array(z.tuple([z.number(), z.number()]))),
    }),
    z.strictObject({ difference: z.number() }),
  ),
  /** The token ids of an encoded sample, for the process of vLLM. */
  'vllm.ids': op('io', z.strictObject({ tokens: Handle }), z.strictObject({ ids: Ids })),
  /** The sample `tokens` with the states in `file`. `bad` as of `capture.collect`. */
  'vllm.read': op(
    'bulk',
    z.strictObject({ session: Handle, tokens: Handle, file: z.string() }),
    z.strictObject({
      set: Minted.nullable(),
      bad: z.strictObject({ field: z.string(), found: z.string() }).nullable(),
    }),
  ),
} as const
