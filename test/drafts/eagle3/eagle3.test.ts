import { expect, it } from 'vitest'
import type { TargetShape } from '../../../src/core/target-contract.ts'
import { expectedShapes } from '../../../src/drafts/architecture.ts'
import { eagle3 } from '../../../src/drafts/eagle3/eagle3.ts'

const target = (numLayers: number) => ({ numLayers, hiddenSize: 8 }) as TargetShape

it.each([
  [5, [1, 1, 1]],
  [8, [1, 3, 4]],
  // SpecForge's layers for Qwen2.5-7B and Llama-3.1-8B.
  [28, [1, 13, 24]],
  [32, [1, 15, 28]],
])('of a target with %i layers it reads the outputs of layers %j', (layers, expected) => {
  expect(eagle3.auxLayers(target(layers))).toEqual(expected)
})

it('is no draft for a target with fewer than five layers', () => {
  expect(() => eagle3.auxLayers(target(4))).toThrow(/too shallow/)
})

it('trains on the last state and on the auxiliary states side by side', () => {
  expect([...expectedShapes(eagle3, { shape: target(8), auxLayers: [1, 3, 4] }, 'n')]).toEqual([
    ['input_ids', '[n]'],
    ['loss_mask', '[n]'],
    ['hidden_state', '[n, 8]'],
    ['aux_hidden_state', '[n, 24]'],
  ])
})
