/** Sizes of a draft. Widths are numbers of columns. */
export interface DraftShape {
  readonly hidden: number
  readonly inner: number
  readonly queryWidth: number
  readonly keyWidth: number
  readonly vocabulary: number
  readonly draftVocabulary: number
}

export const DRAFT_SHAPES: Readonly<Record<'qwen' | 'small', DraftShape>> = {
  qwen: { hidden: 3584, inner: 18944, queryWidth: 3584, keyWidth: 512, vocabulary: 152064, draftVocabulary: 16000 },
  small: { hidden: 256, inner: 512, queryWidth: 256, keyWidth: 128, vocabulary: 4000, draftVocabulary: 1000 },
}

/** Operations that 7 steps need for a token of a sample of `length`, when the share `live` of the tokens is trained. */
export function flopsPerToken(shape: DraftShape, { length, live }: { length: number; live: number }): number {
  const { hidden, inner, queryWidth, keyWidth, vocabulary, draftVocabulary } = shape
  const fuse = 3 * hidden ** 2
  const block = 2 * hidden * (queryWidth + 2 * keyWidth) + queryWidth * hidden + 3 * hidden * inner
  const head = hidden * draftVocabulary
  const attention = (3.5 * 4 * queryWidth * length) / 2
  const teacher = 2 * hidden * vocabulary
  return 4 * fuse + live * (7 * (6 * block + 6 * head + attention) + teacher)
}

/** The most tokens/s that a device with `peak` TFLOP/s can reach. */
export function floorTokensPerSecond(
  shape: DraftShape,
  sample: { length: number; live: number },
  peak: number,
): number {
  return (peak * 1e12) / flopsPerToken(shape, sample)
}
