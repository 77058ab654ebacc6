/** The middle value; NaN of nothing. */
export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** The value below which the given share of all values lies. */
export const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN

export const milliseconds = (seconds: number, digits = 2): string => `${(seconds * 1e3).toFixed(digits)} ms`
