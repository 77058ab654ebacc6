import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node'
import type { Counts } from './test-counts.ts'

/** Writes the counts of a vitest run to the file named by DRAFTBRIDGE_TEST_COUNTS. vitest loads this class by its path. */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const file = process.env['DRAFTBRIDGE_TEST_COUNTS']
    if (file !== undefined) writeFileSync(file, JSON.stringify(countsOf(modules, unhandled)))
  }
}

// A module that does not load, a hook that throws, an error outside any test and a test that is skipped without a reason
// (`it.skip`, or because another one is `it.only`) count as failures, though no test failed.
function countsOf(modules: readonly TestModule[], unhandled: readonly SerializedError[]): Counts {
  const tests = modules.flatMap((module) => [...module.children.allTests()])
  const suites = modules.flatMap((module) => [module, ...module.children.allSuites()])
  const failures = [
    ...tests.filter((test) => test.result().state === 'failed').map(nameOf),
    ...suites.flatMap((suite) => suite.errors().map(({ message }) => `${moduleOf(suite)}: ${message}`)),
    ...unhandled.map(({ message }) => `outside any test: ${message}`),
    ...tests.filter(isSkippedSilently).map((test) => `${nameOf(test)}: skipped without a reason`),
  ]
  return {
    passed: tests.filter((test) => test.result().state === 'passed').length,
    failed: failures.length,
    skipped: tests.flatMap((test) => {
      const result = test.result()
      return result.state === 'skipped' ? [{ name: nameOf(test), reason: result.note ?? 'no reason' }] : []
    }),
    failures: failures.map((text) => text.split('\n')[0] ?? text),
  }
}

/** Where a hook or the module failed, its tests are skipped for that reason. */
function isSkippedSilently(test: TestCase): boolean {
  const result = test.result()
  return result.state === 'skipped' && result.note === undefined && test.module.ok()
}

const nameOf = (test: TestCase) => `${test.module.relativeModuleId}: ${test.fullName}`

function moduleOf(suite: TestModule | { readonly module: TestModule; readonly fullName: string }): string {
  return 'relativeModuleId' in suite ? suite.relativeModuleId : `${suite.module.relativeModuleId}: ${suite.fullName}`
}
