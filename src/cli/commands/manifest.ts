import path from 'node:path'
import type { Command } from 'commander'
import type { ManifestSummary } from '../../roles/maintain/inspect-manifest.ts'
import { type CommonFlags, withCommonFlags, withExamples } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

const BAD = 65
const BAR = 40

type ConvertFlags = CommonFlags & { readonly to?: string; readonly from?: string }
type VerifyFlags = CommonFlags & { readonly store?: string; readonly keyFile?: string }

export function addManifest(program: Command, stop: Stop): void {
  const manifest = program.command('manifest').description('look at, or check, what a producer published')
  withExamples(manifest, ['manifest show features/manifest', 'manifest verify features/manifest'])
  const show = manifest
    .command('show')
    .description('state, target, samples, tokens and their spread; also while it is being written')
    .argument('<dir>')
  withExamples(show, ['manifest show features/manifest', 'manifest show DIR --json'])
  const verify = manifest
    .command('verify')
    .description('check every hash, count and ref; exit 65 when one is bad')
    .argument('<dir>')
    .option('--store <dir>', 'also that every sample is in this store, and the signature when it has a key')
    .option('--key-file <file>', 'the key of a protected store; without it DRAFTBRIDGE_STORE_KEY')
  withExamples(verify, ['manifest verify features/manifest && echo good', 'manifest verify DIR --store /mnt/features'])
  const convert = manifest
    .command('convert')
    .description("write the refs as the reference's one JSON file")
    .argument('[dir]', 'the manifest')
    .option('--to <file>', 'the JSON file to write')
    .option('--from <file>', 'say what it takes to get the samples of such a file into a manifest')
  withExamples(convert, ['manifest convert features/manifest --to reference.json'])
  for (const command of [show, verify, convert]) {
    withCommonFlags(command).option('--json', 'print one JSON document on stdout')
  }
  show.action(showManifest)
  verify.action((dir: string, flags: VerifyFlags) => verifyOne(dir, flags, stop))
  convert.action(async (dir: string | undefined, flags: ConvertFlags) => {
    const { convertToReference, refuseReference } = await import('../../roles/maintain/convert-manifest.ts')
    if (flags.from !== undefined) return refuseReference(path.resolve(flags.from))
    if (dir === undefined || flags.to === undefined) return convert.error('error: give the manifest DIR and --to FILE')
    const { samples } = await convertToReference(path.resolve(dir), path.resolve(flags.to))
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ samples, file: flags.to }, null, 2)}\n`)
    else if (flags.quiet !== true) process.stderr.write(`${samples} refs written to ${flags.to}\n`)
  })
}

async function showManifest(dir: string, flags: CommonFlags): Promise<void> {
  const { inspectManifest } = await import('../../roles/maintain/inspect-manifest.ts')
  const about = await inspectManifest(path.resolve(dir), Date.now())
  process.stdout.write(flags.json === true ? `${JSON.stringify(about, null, 2)}\n` : summaryText(about))
}

async function verifyOne(dir: string, flags: VerifyFlags, stop: Stop): Promise<void> {
  const { verifyManifest } = await import('../../roles/maintain/inspect-manifest.ts')
  const onPython = () => {
    stop.embedsPython = true
  }
  const root = flags.store
  const place = root === undefined ? null : { root, config: null, keyFile: flags.keyFile ?? null, onPython }
  const { samples, sha256, missing } = await verifyManifest(path.resolve(dir), place)
  const ok = missing === null || missing.length === 0
  if (!ok) process.exitCode = BAD
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ ok, samples, sha256, missing }, null, 2)}\n`)
    return
  }
  if (!ok) {
    for (const name of missing) process.stdout.write(`${name}\n`)
    process.stderr.write(`bad: ${missing.length} of ${samples} samples are not in the store; run the producer again\n`)
  } else if (flags.quiet !== true) {
    const stored = missing === null ? '' : ', and every sample is in the store'
    process.stderr.write(`good: ${samples} refs, every hash and count agrees${stored}\n`)
  }
}

function summaryText({ histogram, heartbeatSeconds, ...about }: ManifestSummary): string {
  const lines = Object.entries(about).map(([name, value]) => `${name.padEnd(12)} ${text(value)}`)
  if (about.state !== 'complete') lines.push(`${'heartbeat'.padEnd(12)} ${heartbeatSeconds} s ago`)
  const most = Math.max(1, ...histogram.map(({ samples }) => samples))
  for (const [index, { from, to, samples }] of histogram.entries()) {
    const bar = '#'.repeat(Math.ceil((samples / most) * BAR))
    const range = `${from} to ${to - 1}`.padEnd(16)
    lines.push(`${(index === 0 ? 'tokens each' : '').padEnd(12)} ${range} ${String(samples).padStart(9)} ${bar}`)
  }
  return `${lines.join('\n')}\n`
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
