import { z } from 'zod'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
  readonly failures: readonly string[]
}

export function add(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: [...a.skipped, ...b.skipped],
    failures: [...a.failures, ...b.failures],
  }
}

/** The summary line, which other scripts parse. A run of no tests counts as one failure. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  const failures = passed + failed === 0 ? 1 : failed
  return `${passed} passed, ${failures} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`
}

const Stored = z.object({
  passed: z.number(),
  failed: z.number(),
  skipped: z.array(z.object({ name: z.string(), reason: z.string() })),
  failures: z.array(z.string()),
})

/** Counts as scripts/test-reporter.ts wrote them. */
export function fromVitest(text: string): Counts {
  return Stored.parse(JSON.parse(text))
}

/** Counts of pytest's JUnit report. */
export function fromJunit(xml: string): Counts {
  const cases = [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)]
  const tests = cases.map(([, attributes = '', body = '']) => ({
    name: `${attribute(attributes, 'classname')}: ${attribute(attributes, 'name')}`,
    outcome: /<(failure|error|skipped)\b([^>]*)/.exec(body),
  }))
  const failed = tests.filter(({ outcome }) => outcome?.[1] === 'failure' || outcome?.[1] === 'error')
  return {
    passed: tests.filter(({ outcome }) => outcome === null).length,
    failed: failed.length,
    skipped: tests
      .filter(({ outcome }) => outcome?.[1] === 'skipped')
      .map(({ name, outcome }) => ({ name, reason: attribute(outcome?.[2] ?? '', 'message') })),
    failures: failed.map(({ name }) => name),
  }
}

const ENTITIES: Record<string, string> = { quot: '"', apos: "'", lt: '<', gt: '>', amp: '&', '#10': '\n' }

function attribute(text: string, name: string): string {
  const value = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(text)?.[1] ?? ''
  return value.replace(/&([a-z]+|#10);/g, (whole, entity: string) => ENTITIES[entity] ?? whole)
}
