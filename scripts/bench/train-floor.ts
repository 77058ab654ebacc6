/** Sizes of a draft. Widths are numbers of columns. */
export interface Recipe {
  readonly hidden: number
  readonly inner: number
  readonly queryWidth: number
  readonly keyWidth: number
  readonly vocabulary: number
  readonly draftVocabulary: number
}

/** What must be computed for a token of a sample of `length`, of which the share `live` is trained, in 7 steps. */
export function flopsPerToken(recipe: Recipe, { length, live }: { length: number; live: number }): number {
  const { hidden, inner, queryWidth, keyWidth, vocabulary, draftVocabulary } = recipe
  const fuse = 3 * hidden ** 2
  const block = 2 * hidden * (queryWidth + 2 * keyWidth) + queryWidth * hidden + 3 * hidden * inner
  const head = hidden * draftVocabulary
  const attention = (3.5 * 4 * queryWidth * length) / 2
  const teacher = 2 * hidden * vocabulary
  return 4 * fuse + live * (7 * (6 * block + 6 * head + attention) + teacher)
}

/** `peak` in TFLOP/s. */
export function floorTokensPerSecond(recipe: Recipe, about: { length: number; live: number }, peak: number): number {
  return (peak * 1e12) / flopsPerToken(recipe, about)
}
