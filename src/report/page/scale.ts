/** Maps values to pixels. `ticks`: round values to label. */
export interface Scale {
  readonly ticks: readonly number[]
  at(value: number): number
}

/** A linear scale. Its ends are those of the data, or the next round numbers when `round` is true. */
export function linear(values: readonly number[], pixels: readonly [number, number], round: boolean): Scale {
  const [low, high] = spread(values)
  const step = roundStep((high - low) / 4)
  const from = round ? Math.floor(low / step) * step : low
  const to = round ? Math.ceil(high / step) * step : high
  const ticks: number[] = []
  for (let tick = Math.ceil(from / step); tick * step <= to + step * 1e-6; tick++) {
    ticks.push(Number((tick * step).toPrecision(12)))
  }
  return { ticks, at: (value) => pixels[0] + ((value - from) / (to - from)) * (pixels[1] - pixels[0]) }
}

/** The range of the values, never empty: a single value or a flat line gets a margin. */
function spread(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1]
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity])
  if (high > low) return [low, high]
  const margin = Math.abs(low) > 0 ? Math.abs(low) * 0.1 : 1
  return [low - margin, high + margin]
}

/** The smallest of 1, 2 or 5 times a power of ten that is not below `rough`. */
function roundStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough))
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= rough * 0.999) ?? 10
  return factor * power
}
