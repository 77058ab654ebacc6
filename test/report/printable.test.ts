import { expect, it } from 'vitest'
import { oneLine, printable } from '../../src/report/printable.ts'

it('shows what would act on a terminal, and what cannot be seen', () => {
  expect(printable('a\u001b[31mred\u0007\u0000\u009b2J\r')).toBe('a\\u{1b}[31mred\\u{7}\\u{0}\\u{9b}2J\\u{d}')
  expect(printable('\u202eevil\u2066\u200b\ufeff\u2028')).toBe('\\u{202e}evil\\u{2066}\\u{200b}\\u{feff}\\u{2028}')
})

it('leaves text alone, also that of several code points', () => {
  const text = 'naïve\t日本 👩‍🚀\n(a) {b} \\ <c>'
  expect(printable(text)).toBe(text)
  for (let code = 0; code < 0x2_0000; code += 1) {
    const sign = String.fromCodePoint(code)
    if (/[\p{L}\p{N}\p{P}\p{S}\p{M}]/u.test(sign)) expect(printable(sign)).toBe(sign)
  }
})

it('makes one line of at most so many characters', () => {
  expect(oneLine('a\n  b\tc', 10)).toBe('a b c')
  expect(oneLine('0123456789', 10)).toBe('0123456789')
  expect(oneLine('0123456789x', 10)).toBe('0123456...')
})
