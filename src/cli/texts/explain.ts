import { type ErrorCode, errorCodes, errorTable, isErrorCode, STOP_EXIT } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import { explanations } from './explanations.ts'

type Answer = { readonly text: string; readonly data: unknown } | { readonly unknown: string }

export function explain(word: string): Answer {
  const code = word.toUpperCase()
  if (isErrorCode(code)) return { text: textOf(code), data: dataOf(code) }
  const meant = nearest(code, errorCodes)
  return {
    unknown: `no error code '${word}'${meant === undefined ? '; see: draftbridge explain' : `\n(Did you mean ${meant}?)`}`,
  }
}

/** Every code in one line each. */
export function explainAll(): Answer {
  const lines = errorCodes.map(
    (code) => `${code.padEnd(20)} ${String(exitOf(code)).padEnd(4)} ${explanations[code].cause}`,
  )
  return { text: [`${'code'.padEnd(20)} exit`, ...lines].join('\n'), data: errorCodes.map(dataOf) }
}

function textOf(code: ErrorCode): string {
  const { cause, fix } = explanations[code]
  const again = errorTable[code].retryable ? 'yes' : 'no'
  return `${code}\n  cause: ${cause}\n  fix:   ${fix}\n  exit:  ${exitOf(code)}\n  retry: ${again}`
}

const dataOf = (code: ErrorCode) => ({
  code,
  exit: exitOf(code),
  retryable: errorTable[code].retryable,
  ...explanations[code],
})
const exitOf = (code: ErrorCode): string | number =>
  code === 'INTERRUPTED' ? Object.values(STOP_EXIT).join(' / ') : errorTable[code].exit
