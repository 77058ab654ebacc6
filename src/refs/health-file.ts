import { type CodedError, finding } from '../core/errors.ts'
import { ProducedHealth } from '../core/produced-health.ts'
import { PRODUCE_AGAIN } from './produce-again.ts'
import { toCamel, toSnake } from './root/wire-case.ts'

/** `health.json`: what a producer counted. */
export const healthText = (health: ProducedHealth): string => `${JSON.stringify(toSnake(health), null, 1)}\n`

/** @throws MANIFEST_INVALID for another content. */
export function parseHealth(file: string, text: string): ProducedHealth {
  try {
    return ProducedHealth.parse(toCamel(JSON.parse(text)))
  } catch (cause) {
    throw invalid(file, text.slice(0, 80), cause)
  }
}

const invalid = (file: string, found: string, cause: unknown): CodedError =>
  finding('MANIFEST_INVALID', 'this cannot be what a producer counted', { file, found, fix: PRODUCE_AGAIN }, { cause })
