/** Why an answer or a conversation is left out, although nothing is wrong with the input. */
export const leftOuts = ['empty', 'cut', 'loop', 'round-trip', 'duplicate'] as const
export type LeftOut = (typeof leftOuts)[number]

export const WHY: Readonly<Record<LeftOut, string>> = {
  empty: 'the target said nothing',
  cut: 'the answer is longer than generate.maxNewTokens or than the target has positions',
  loop: 'the answer repeats itself without end',
  'round-trip': 'the chat template does not render the answer as the target wrote it',
  duplicate: 'the same conversation was written before',
}

const LONGEST_PERIOD = 400
const TIMES = 4
const LOOPED = 60
const WINDOW = 8
const FEWEST_WORDS = 120
const FEWEST_DIFFERENT = 0.4

/**
 * Whether a text is caught in a loop. Either it ends in one piece with a letter or digit, at least four times in a row and
 * 60 characters long in all; or, with 120 words or more, fewer than 40 % of its runs of eight words are different ones.
 */
export function isLoop(text: string): boolean {
  return endsInCycle(text.trimEnd()) || repeatsItself(text)
}

function endsInCycle(text: string): boolean {
  const longest = Math.min(LONGEST_PERIOD, Math.floor(text.length / TIMES))
  for (let period = 1; period <= longest; period += 1) {
    const span = Math.max(TIMES * period, Math.ceil(LOOPED / period) * period)
    if (span > text.length || !isPeriodic(text, period, span)) continue
    if (/[\p{L}\p{N}]/u.test(text.slice(-period))) return true
  }
  return false
}

/** Whether the last `span` characters repeat after `period`. */
function isPeriodic(text: string, period: number, span: number): boolean {
  for (let at = text.length - 1; at >= text.length - span + period; at -= 1) {
    if (text[at] !== text[at - period]) return false
  }
  return true
}

function repeatsItself(text: string): boolean {
  const words = text.toLowerCase().match(/\p{L}+|\p{N}+/gu) ?? []
  if (words.length < FEWEST_WORDS) return false
  const windows = words.length - WINDOW + 1
  const different = new Set(Array.from({ length: windows }, (_, at) => words.slice(at, at + WINDOW).join(' ')))
  return different.size < FEWEST_DIFFERENT * windows
}
