import type { MemoryFigures } from '../../core/memory-figures.ts'
import { plural } from '../words.ts'

/** Bytes in GiB, with up to three significant digits: 12.3, 0.45, 0.012. */
export function gib(bytes: number): string {
  if (bytes === 0) return '0'
  const value = bytes / 2 ** 30
  if (value >= 10) return value.toFixed(1)
  return value >= 0.1 ? value.toFixed(2) : value.toFixed(3)
}

/** The known parts of the peak, and the rest. */
export function memoryParts(memory: MemoryFigures): readonly (readonly [string, number])[] {
  const parts = [
    ['parameters', memory.parameters],
    ['gradients', memory.gradients],
    ['optimiser state', memory.optimizer],
    ['embedding and head', memory.frozen],
    ['unroll buffers', memory.buffers],
    ['prefetched batches', memory.batches],
  ] as const
  const known = parts.reduce((sum, [, bytes]) => sum + bytes, 0)
  const rest = memory.allocated === null ? 'libraries, activations and the rest' : 'activations and the rest'
  return [...parts, [rest, Math.max(0, (memory.allocated ?? memory.host) - known)]]
}

export function peakText(memory: MemoryFigures): string {
  const host = `${gib(memory.host)} GiB resident`
  if (memory.allocated === null) return host
  const reserved = memory.reserved === null ? '' : ` of ${gib(memory.reserved)} reserved`
  return `${gib(memory.allocated)} GiB on the device${reserved}, ${host} on the host`
}

/** Three lines: the peak, the parts of the model, and the parts that depend on the batches. */
export function memoryLines(memory: MemoryFigures, ranks: number): readonly [string, string, string] {
  const maximum = ranks === 1 ? '' : ` (maximum over ${plural(ranks, 'rank')})`
  const parts = memoryParts(memory).map(([name, bytes]) => `${name} ${gib(bytes)}`)
  const [model, batches] = [parts.slice(0, 4), parts.slice(4)]
  return [`peak ${peakText(memory)}${maximum}`, `GiB: ${model.join(' · ')}`, `     ${batches.join(' · ')}`]
}
