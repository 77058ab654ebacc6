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
  const quota =
    usage === null ? 'no quota' : `${bytes(usage.bytes)} of ${quotaText(usage.quota)} counted against the quota`
  const lines = [
    `store    ${store} (auth: ${auth})`,
    `stored   ${bytes(stored)}; ${quota}`,
    `members  ${members.living} alive${members.dead > 0 ? `, ${members.dead} dead (store gc removes their leftovers)` : ''}`,
  ]
  if (rows.length === 0) return [...lines, '', 'The store contains no samples.'].join('\n')
  return [...lines, '', ...table([[...COLUMNS], ...rows])].join('\n')
}

const MEANINGS: Readonly<Record<keyof GcReport['found'], string>> = {
  superseded: 'old generations: the sample was stored again',
  orphans: 'samples that none of the given manifests lists',
  staging: 'incomplete files of dead processes',
  members: 'membership records of dead processes',
  leases: 'leases of dead processes',
  claims: 'claims of dead processes',
  consumed: 'acknowledged samples that were never freed',
  extern: 'linked feature files that no sample uses',
  content: 'shared tensor data that no sample uses',
}

export function gcText(report: GcReport, withManifest: boolean): string {
  const found = Object.entries(report.found).filter(([, { count: found }]) => found > 0)
  const rows = found.map(([kind, { count: found, bytes: size }]) => [
    kind,
    count(found),
    size > 0 ? bytes(size) : '',
    MEANINGS[kind as keyof typeof MEANINGS],
  ])
  const total = found.reduce((sum, [, { bytes: size }]) => sum + size, 0)
  const head = report.dryRun ? `would free ${bytes(total)}` : `freed ${bytes(total)}`
  const notes = [
    report.held > 0 ? `kept ${plural(report.held, 'sample')}: running processes hold leases or claims on them` : '',
    report.young > 0 ? `kept ${count(report.young)}: newer than --grace` : '',
    report.unknown > 0
      ? `kept ${plural(report.unknown, 'sample')}: the manifest of their run is not complete, or was not given`
      : '',
    ...report.open.map((dir) => `kept the samples of the run of ${dir}: this manifest is not complete`),
    withManifest ? '' : 'did not search for orphans: to find them, give --manifest DIR for every run in the store',
  ].filter((line) => line !== '')
  return [rows.length === 0 ? 'nothing to clean' : head, ...table(rows, '  '), ...notes].join('\n')
}

export function removedText({ run, dryRun, removed, kept, bytes: size }: RmReport): string {
  if (kept > 0) return 'nothing removed'
  if (removed === 0) return `nothing removed: the store contains no sample of run ${run}; store ls lists the runs`
  return `${dryRun ? 'would remove' : 'removed'} ${plural(removed, 'sample')}, ${bytes(size)}, of run ${run}`
}

/** True when every sample in the store is intact and every sample in the manifests is stored. */
export const isGood = ({ bad, missing }: Pick<StoreVerdict, 'bad' | 'missing'>): boolean =>
  bad.length === 0 && missing.length === 0

export function verdictText(verdict: StoreVerdict): string {
  const { bad, foreign, missing, dryRun, objects, before } = verdict
  const lines = bad.map(({ sampleId, generation, code, message, listed }) => {
    const where = listed ? ' (a manifest lists it)' : ''
    return `bad: ${sampleId}@${generation}${where}: ${code}: ${message.split('\n').join('\n  ')}`
  })
  for (const { file, found } of foreign) lines.push(`foreign file: ${file}: ${found}; it was not changed`)
  for (const ref of missing.slice(0, 20)) lines.push(`missing: ${ref} is in a manifest but not in the store`)
  if (missing.length > 20) lines.push(`missing: … and ${count(missing.length - 20)} more`)
  const action =
    bad.length === 0 ? '' : dryRun ? ' (dry run: not moved)' : ' (moved to quarantine/, each with its reason)'
  const head = isGood(verdict) ? 'good' : 'BAD'
  const lost = missing.length === 0 ? '' : `, ${count(missing.length)} missing: run the producer again`
  const earlier = before > 0 ? ` (${count(before)} by the earlier check that was interrupted)` : ''
  lines.push(`${head}: ${plural(objects, 'sample')} read${earlier}, ${count(bad.length)} bad${action}${lost}`)
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

const quotaText = (quota: number | null): string => (quota === null ? 'no limit' : bytes(quota))
const minute = (iso: string): string => iso.slice(0, 16).replace('T', ' ')

/** Rows as aligned columns. The last column is not padded. */
function table(rows: readonly (readonly string[])[], indent = ''): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => (indent + row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).trimEnd())
}
