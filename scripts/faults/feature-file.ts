import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

const HIDDEN = 32

const target = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 320,
  hidden_size: HIDDEN,
  intermediate_size: 64,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
}

/** A target folder with a config and no weights. Ingest needs no more. */
export async function writeTarget(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true })
  await writeFile(path.join(dir, 'config.json'), JSON.stringify(target))
}

/** Writes the features of one sample of `tokens` tokens as a safetensors file, without any library. */
export async function writeFeatureFile(file: string, tokens: number): Promise<void> {
  const ids = Buffer.from(BigInt64Array.from({ length: tokens }, (_, at) => BigInt(3 + at)).buffer)
  const mask = Buffer.from(BigInt64Array.from({ length: tokens }, () => 1n).buffer)
  const states = (width: number) =>
    Buffer.from(Float32Array.from({ length: tokens * width }, (_, at) => Math.sin(tokens + at)).buffer)
  const tensors: readonly (readonly [string, string, readonly number[], Buffer])[] = [
    ['input_ids', 'I64', [tokens], ids],
    ['loss_mask', 'I64', [tokens], mask],
    ['hidden_state', 'F32', [tokens, HIDDEN], states(HIDDEN)],
    ['aux_hidden_state', 'F32', [tokens, 3 * HIDDEN], states(3 * HIDDEN)],
  ]
  let end = 0
  const head = Object.fromEntries(
    tensors.map(([name, dtype, shape, data]) => {
      const begin = end
      end += data.length
      return [name, { dtype, shape, data_offsets: [begin, end] }]
    }),
  )
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  await writeFile(file, Buffer.concat([length, text, ...tensors.map(([, , , data]) => data)]))
}
