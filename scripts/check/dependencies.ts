import { z } from 'zod'

const Cruise = z.object({
  modules: z.array(z.object({ source: z.string() })),
  summary: z.object({
    totalDependenciesCruised: z.number(),
    violations: z.array(z.object({ from: z.string(), to: z.string(), rule: z.object({ name: z.string() }) })),
  }),
})

interface Verdict {
  readonly ok: boolean
  readonly output: string
}

/**
 * Reads dependency-cruiser's JSON. It reports no violation when it finds no module or resolves no import, for instance
 * with an unknown compiler, so a result without modules or imports fails.
 */
export function checkDependencies({ output }: Verdict): Verdict {
  const start = output.indexOf('{')
  if (start < 0) return { ok: false, output }
  const { modules, summary } = Cruise.parse(JSON.parse(output.slice(start)))
  const sources = modules.filter(({ source }) => source.startsWith('src/')).length
  if (sources === 0 || summary.totalDependenciesCruised === 0) {
    return { ok: false, output: `it found ${sources} modules and ${summary.totalDependenciesCruised} imports` }
  }
  const lines = summary.violations.map(({ from, to, rule }) => `${rule.name}: ${from} -> ${to}`)
  return { ok: lines.length === 0, output: lines.join('\n') }
}
