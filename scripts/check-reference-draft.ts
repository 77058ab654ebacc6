/**
 * Decodes with a draft whose outputs and pass counts are known, and compares them.
 *
 *   node --import tsx scripts/check-reference-draft.ts --model GGUF --draft DIR --prompts FILE --expected FILE [--limit N]
 *
 * `--expected`: JSON, `[{ id, output_ids, steps_<n>: { tokens, passes } }]`. Exit status 1 on any difference.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { RunConfig } from '../src/config/schema.ts'
import { systemClock } from '../src/core/clock.ts'
import type { RoleContext } from '../src/roles/context.ts'
import type { EvalReport } from '../src/roles/evaluate/eval-report.ts'
import { firstDifference } from '../src/roles/evaluate/eval-report.ts'
import { evaluate } from '../src/roles/evaluate/evaluate.ts'

const Pool = z.object({ tokens: z.number(), passes: z.number() })
const Expected = z.array(z.object({ id: z.string(), output_ids: z.array(z.number()), steps_3: Pool, steps_5: Pool }))
type Expected = z.output<typeof Expected>
const STEPS = [3, 5] as const

const text = { type: 'string' } as const
const { values } = parseArgs({
  options: { model: text, draft: text, prompts: text, expected: text, limit: { type: 'string', default: '20' } },
})
const given = z
  .object({ model: z.string(), draft: z.string(), prompts: z.string(), expected: z.string(), limit: z.coerce.number() })
  .parse(values)

const print = (line: string): boolean => process.stdout.write(`${line}\n`)
const expected = Expected.parse(JSON.parse(await readFile(given.expected, 'utf8'))).slice(0, given.limit)
const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-reference-'))
try {
  const report = await evaluate(configOf(dir), { draft: given.draft }, quietContext())
  process.exitCode = compare(report, expected) === 0 ? 0 : 1
} finally {
  await rm(dir, { recursive: true, force: true })
}

function configOf(runDir: string): RunConfig {
  return RunConfig.parse({
    version: 1,
    run: { dir: runDir },
    target: { model: given.model },
    eval: { prompts: given.prompts, steps: [...STEPS], maxNewTokens: 128, dtype: 'fp32', limit: given.limit },
  })
}

function quietContext(): RoleContext {
  const events: RoleContext['events'] = {
    emit: (body) => {
      if (body.event === 'eval.prompt') process.stderr.write(`${body.done}/${body.total} prompts\n`)
    },
  }
  return { clock: systemClock, signal: new AbortController().signal, events }
}

function compare(report: EvalReport, wanted: Expected): number {
  print('prompt            steps  ids   tokens  (file)  passes  (file)')
  const rows = wanted.flatMap((entry) => STEPS.map((steps) => compareRow(report, entry, steps)))
  for (const steps of STEPS) printPooled(report, wanted, steps)
  const differences = rows.filter((equal) => !equal).length
  print(`plain: ${report.speed.plainTokensPerSecond.toFixed(1)} tokens/s; lossless: ${report.lossless}`)
  print(differences === 0 ? 'no difference' : `${differences} differences`)
  return differences
}

function compareRow(report: EvalReport, entry: Expected[number], steps: (typeof STEPS)[number]): boolean {
  const row = report.prompts.find((prompt) => prompt.id === entry.id && prompt.steps === steps)
  const pool = entry[`steps_${steps}`]
  const equalIds = row !== undefined && firstDifference(row.outputIds, entry.output_ids) === null
  const equal = equalIds && row.tokens === pool.tokens && row.passes === pool.passes
  const counts = [row?.tokens, pool.tokens, row?.passes, pool.passes].map((n) => String(n ?? '-').padStart(6))
  print(`${entry.id.padEnd(18)}${steps}      ${equalIds ? 'same' : 'DIFF'}${counts.join('  ')}${equal ? '' : '  <-'}`)
  return equal
}

function printPooled(report: EvalReport, wanted: Expected, steps: (typeof STEPS)[number]): void {
  const sum = (field: 'tokens' | 'passes'): number =>
    wanted.reduce((all, entry) => all + entry[`steps_${steps}`][field], 0)
  const speed = report.speed.bySteps[String(steps)]
  const acceptance = report.acceptance[String(steps)]?.map((share) => share?.toFixed(3) ?? '-').join(' ')
  print(`tau at ${steps} steps: ${report.tau[steps]?.toFixed(4)}  (file ${(sum('tokens') / sum('passes')).toFixed(4)})`)
  print(`  ${speed?.tokensPerSecond.toFixed(1)} tokens/s, ${speed?.speedUp.toFixed(2)} x plain; accepted ${acceptance}`)
}
