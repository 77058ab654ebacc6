import { describe, expect, it } from 'vitest'
import { parseVllmLine } from '../../src/launch/vllm-message.ts'

describe('a line of the process of vLLM', () => {
  it('is one of its messages', () => {
    const written = { id: 3, file: '/scratch/3.safetensors', logprobs: [[[7, -0.25]]] }
    for (const message of [
      { ready: { vllm: '0.32.0' } },
      { failed: 'why', missing: true },
      { id: 1, error: 'e' },
      written,
    ])
      expect(parseVllmLine(JSON.stringify(message))).toEqual(message)
  })

  it.each([
    'INFO loading weights',
    '',
    'null',
    '{"id":-1,"error":"e"}',
    '{"id":1}',
    '{"id":1,"file":"f","logprobs":[[["7",0]]]}',
    '{"id":1,"file":"f","logprobs":null,"more":1}',
  ])('is refused otherwise: %s', (line) => {
    expect(() => parseVllmLine(line)).toThrow(/none of its protocol/)
  })
})
