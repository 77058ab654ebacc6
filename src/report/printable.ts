/** Control characters but tab and newline, what turns the direction of writing, and what cannot be seen. */
const HIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/gu

/**
 * Text of users, safe for a terminal: an escape sequence in it would write over the screen. What is hidden is shown as
 * `\u{1b}`. Newlines and tabs stay.
 */
export const printable = (text: string): string =>
  text.replaceAll(HIDDEN, (sign) =>
    sign === '\n' || sign === '\t' ? sign : `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`,
  )

/** The same on one line of at most `width` characters: the end of a long one is cut. */
export function oneLine(text: string, width: number): string {
  const signs = Array.from(printable(text).replaceAll(/\s+/g, ' '))
  return signs.length <= width ? signs.join('') : `${signs.slice(0, Math.max(0, width - 3)).join('')}...`
}
