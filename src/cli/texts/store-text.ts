import { bytes, count, duration, plural } from '../../report/words.ts'
import type { GcReport } from '../../roles/maintain/store-gc.ts'
import type { StoreSummary } from '../../roles/maintain/store-ls.ts'
import type { RmReport } from '../../roles/maintain/store-rm.ts'
import type { StoreVerdict } from '../../roles/maintain/store-verify.ts'

const COLUMNS = ['run', 'samples', 'generations', 'bytes', 'oldest', 'newest', 'leases', 'claims'] as const
const UNREADABLE = '(unreadable)'

export function summaryTable({ store, auth, runs, bytes: stored, usage, members }: StoreSummary): string {
  const rows = runs.map((run) => [
    run.run ?? UNREADABLE,
    count(run.samples),
    count(run.generations),
    bytes(run.bytes),
    minute(run.oldest),
    minute(run.newest),
    count(run.leases),
    count(run.claims),
  ])
  const bound = usage === null ? 'no quota' : `${bytes(usage.bytes)} of ${quotaText(usage.quota)} on the books`
  const lines = [
    `store    ${store} (auth: ${auth})`,
    `stored   ${bytes(stored)}; ${bound}`,
    `members  ${members.living} living${members.dead > 0 ? `, ${members.dead} dead (store gc removes what they left)` : ''}`,
  ]
  if (rows.length === 0) return [...lines, '', 'There is no sample in it.'].join('\n')
  return [...lines, '', ...table([[...COLUMNS], ...rows])].join('\n')
}

const KINDS: Readonly<Record<keyof GcReport['found'], string>> = {
  superseded: 'samples that a newer put replaced',
  orphans: 'samples that no given manifest lists',
  staging: 'half-written files of processes that ended',
  members: 'processes that ended without a word',
  leases: 'leases of such processes',
  claims: 'claims of such processes',
  consumed: 'consumed samples that nobody freed',
  extern: 'linked feature files without a sample',
  content: 'shared tensor data without a sample',
}

export function gcText(report: GcReport, withManifest: boolean): string {
  const found = Object.entries(report.found).filter(([, { count: found }]) => found > 0)
  const rows = found.map(([kind, { count: found, bytes: size }]) => [
    kind,
    count(found),
    size > 0 ? bytes(size) : '',
    KINDS[kind as keyof typeof KINDS],
  ])
  const total = found.reduce((sum, [, { bytes: size }]) => sum + size, 0)
  const head = report.dryRun ? `would free ${bytes(total)}` : `freed ${bytes(total)}`
  const notes = [
    report.held > 0 ? `${plural(report.held, 'sample')} stayed: a living process holds them` : '',
    report.young > 0 ? `${count(report.young)} stayed: younger than the grace` : '',
    report.unknown > 0
      ? `${plural(report.unknown, 'sample')} of runs whose manifest was not given, or is not complete, stayed`
      : '',
    ...report.open.map((dir) => `${dir} is not complete: samples of its run stayed`),
    withManifest ? '' : 'orphans were not looked for: give --manifest DIR of every run to find them',
  ].filter((line) => line !== '')
  return [rows.length === 0 ? 'nothing to clean' : head, ...table(rows, '  '), ...notes].join('\n')
}

export function removedText({ run, dryRun, removed, kept, bytes: size }: RmReport): string {
  if (kept > 0) return 'nothing removed, as you wish'
  if (removed === 0) return `nothing removed: no sample of run ${run} is here; see store ls`
  return `${dryRun ? 'would remove' : 'removed'} ${plural(removed, 'sample')}, ${bytes(size)}, of run ${run}`
}

/** What the manifests list is there, and all of it is whole. */
export const isGood = ({ bad, missing }: Pick<StoreVerdict, 'bad' | 'missing'>): boolean =>
  bad.length === 0 && missing.length === 0

export function verdictText(verdict: StoreVerdict): string {
  const { bad, foreign, missing, dryRun, objects, before } = verdict
  const lines = bad.map(({ sampleId, generation, code, message, listed }) => {
    const where = listed ? ' (a manifest lists it)' : ''
    return `bad: ${sampleId}@${generation}${where}: ${code}: ${message.split('\n').join('\n  ')}`
  })
  for (const { file, found } of foreign) lines.push(`not ours: ${file}: ${found}; it was left alone`)
  for (const ref of missing.slice(0, 20)) lines.push(`missing: ${ref} is listed in a manifest and not stored`)
  if (missing.length > 20) lines.push(`missing: … and ${count(missing.length - 20)} more`)
  const went =
    bad.length === 0 ? '' : dryRun ? '; they are where they were' : '; they are in quarantine/ with the reason'
  const head = isGood(verdict) ? 'good' : 'BAD'
  const lost = missing.length === 0 ? '' : `; ${count(missing.length)} listed and not stored: run the producer again`
  const earlier = before > 0 ? ` (${count(before)} by the check before, which was cut short)` : ''
  lines.push(`${head}: ${plural(objects, 'sample')} read${earlier}, ${count(bad.length)} bad${went}${lost}`)
  return lines.join('\n')
}

/** `1,200 of 6,000 samples, 3.1 GiB/s, 0:42 min left`. */
export function progressText(
  done: { readonly objects: number; readonly bytes: number },
  all: { readonly objects: number; readonly bytes: number },
  rate: number,
): string {
  const speed = rate > 0 ? `, ${bytes(rate)}/s, ${duration((all.bytes - done.bytes) / rate)} left` : ''
  return `${count(done.objects)} of ${plural(all.objects, 'sample')}${speed}`
}

const quotaText = (quota: number | null): string => (quota === null ? 'no bound' : bytes(quota))
const minute = (iso: string): string => iso.slice(0, 16).replace('T', ' ')

/** Columns as wide as they must be; the last one is never padded. */
function table(rows: readonly (readonly string[])[], indent = ''): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => (indent + row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).trimEnd())
}
