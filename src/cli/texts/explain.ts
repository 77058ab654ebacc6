import { type ErrorCode, errorCodes, errorTable, isErrorCode, STOP_EXIT } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'

type Answer = { readonly text: string; readonly data: unknown } | { readonly unknown: string }

export function explain(word: string): Answer {
  const code = word.toUpperCase()
  if (isErrorCode(code)) return { text: textOf(code), data: dataOf(code) }
  const meant = nearest(code, errorCodes)
  const hint = meant === undefined ? "; 'draftbridge explain' lists all codes" : `\n(Did you mean ${meant}?)`
  return { unknown: `no error code '${word}'${hint}` }
}

/** All codes, one line each. */
export function explainAll(): Answer {
  const lines = errorCodes.map(
    (code) => `${code.padEnd(20)} ${String(exitOf(code)).padEnd(4)} ${errorTable[code].cause}`,
  )
  return { text: [`${'code'.padEnd(20)} exit`, ...lines].join('\n'), data: errorCodes.map(dataOf) }
}

function textOf(code: ErrorCode): string {
  const { cause, fix, retryable } = errorTable[code]
  const again = code === 'INTERRUPTED' ? 'yes, the same command goes on' : 'no, fix the cause first'
  const retry = retryable ? 'yes, the same command may succeed later' : again
  return `${code}\n  cause: ${cause}\n  fix:   ${fix}\n  exit:  ${exitOf(code)}\n  retry: ${retry}`
}

function dataOf(code: ErrorCode) {
  const { retryable, cause, fix } = errorTable[code]
  return { code, exit: exitOf(code), retryable, cause, fix }
}
const exitOf = (code: ErrorCode): string | number =>
  code === 'INTERRUPTED' ? Object.values(STOP_EXIT).join(' / ') : errorTable[code].exit
