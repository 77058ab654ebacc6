import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { checkDependencies } from '../../scripts/check/dependencies.ts'
import { faultsOf } from '../../scripts/check/tracked-files.ts'
import { fromJunit, summaryLine } from '../../scripts/test-counts.ts'

it('the sum counts failures and errors of pytest, and keeps the reasons of what was skipped', () => {
  const xml = `<testsuites><testsuite tests="4">
    <testcase classname="test_a" name="test_one" time="0.1" />
    <testcase classname="test_a" name="test_two"><failure message="no">at &lt;x&gt;</failure></testcase>
    <testcase classname="test_a" name="test_three"><error message="fixture">...</error></testcase>
    <testcase classname="test_a" name="test_four"><skipped type="pytest.skip" message="needs a &quot;GPU&quot;">x</skipped></testcase>
  </testsuite></testsuites>`
  const counts = fromJunit(xml)
  expect(counts).toEqual({
    passed: 1,
    failed: 2,
    skipped: [{ name: 'test_a: test_four', reason: 'needs a "GPU"' }],
    failures: ['test_a: test_two', 'test_a: test_three'],
  })
  expect(summaryLine(counts)).toBe('1 passed, 2 failed, 1 skipped')
})

it('a run of no tests is told as a failure', () => {
  expect(summaryLine({ passed: 0, failed: 0, skipped: [], failures: [] })).toBe('0 passed, 1 failed')
})

it('the test command fails when its filter fits no test, and says so', () => {
  const args = ['--import', 'tsx', 'scripts/test.ts', 'test/there-is-no-such-file']
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  expect(status).toBe(1)
  expect(stdout).toMatch(/\nfailed: vitest .+\n(no test ran.*\n)?0 passed, 1 failed\n$/)
})

it('a cruise that saw nothing fails, and so does one that broke a rule', () => {
  const cruise = (sources: string[], total: number, violations: object[]) => ({
    ok: true,
    output: JSON.stringify({
      modules: sources.map((source) => ({ source })),
      summary: { totalDependenciesCruised: total, violations },
    }),
  })
  expect(checkDependencies(cruise(['src/core/ids.ts'], 3, [])).ok).toBe(true)
  expect(checkDependencies(cruise([], 3, [])).ok).toBe(false)
  expect(checkDependencies(cruise(['src/core/ids.ts'], 0, [])).ok).toBe(false)
  const broken = { from: 'src/core/a.ts', to: 'src/cli/b.ts', rule: { name: 'layer-core' } }
  expect(checkDependencies(cruise(['src/core/a.ts'], 1, [broken]))).toEqual({
    ok: false,
    output: 'layer-core: src/core/a.ts -> src/cli/b.ts',
  })
})

it('a source file may have 300 lines and no more, and no file may name where its packages came from', () => {
  expect(faultsOf('src/a.ts', 'x\n'.repeat(300))).toEqual([])
  expect(faultsOf('src/a.ts', 'x\n'.repeat(301))).toEqual(['src/a.ts: 301 lines, more than 300'])
  expect(faultsOf('data.ndjson', 'x\n'.repeat(301))).toEqual([])
  expect(faultsOf('lock.json', `{ "${'resolved'}": "x" }`)).toHaveLength(1)
  expect(faultsOf('requirements.txt', `${'--index'}-url https://example.org`)).toHaveLength(1)
})
