import type { MemoryFigures } from '../events/train-events.ts'
import { plural } from '../words.ts'

/** GiB, with the digits that a reader can use: 12.3, 0.45, 0.012. */
export function gib(bytes: number): string {
  if (bytes === 0) return '0'
  const value = bytes / 2 ** 30
  if (value >= 10) return value.toFixed(1)
  return value >= 0.1 ? value.toFixed(2) : value.toFixed(3)
}

/** What a session keeps by name, and the rest of the peak. */
export function memoryParts(memory: MemoryFigures): readonly (readonly [string, number])[] {
  const parts = [
    ['parameters', memory.parameters],
    ['gradients', memory.gradients],
    ['optimiser state', memory.optimizer],
    ['embedding and head', memory.frozen],
    ['unroll buffers', memory.buffers],
    ['batches ahead', memory.batches],
  ] as const
  const named = parts.reduce((sum, [, bytes]) => sum + bytes, 0)
  const rest = memory.allocated === null ? 'libraries, activations and the rest' : 'activations and the rest'
  return [...parts, [rest, Math.max(0, (memory.allocated ?? memory.host) - named)]]
}

export function peakText(memory: MemoryFigures): string {
  const host = `${gib(memory.host)} GiB resident`
  if (memory.allocated === null) return host
  const reserved = memory.reserved === null ? '' : ` of ${gib(memory.reserved)} reserved`
  return `${gib(memory.allocated)} GiB on the device${reserved}, ${host} on the host`
}

/** The peak, then what it is made of: what the model needs, and what comes and goes with the batches. */
export function memoryLines(memory: MemoryFigures, ranks: number): readonly [string, string, string] {
  const whose = ranks === 1 ? '' : ` (the most of any of ${plural(ranks, 'rank')})`
  const parts = memoryParts(memory).map(([name, bytes]) => `${name} ${gib(bytes)}`)
  const [model, batches] = [parts.slice(0, 4), parts.slice(4)]
  return [`peak ${peakText(memory)}${whose}`, `GiB: ${model.join(' · ')}`, `     ${batches.join(' · ')}`]
}
