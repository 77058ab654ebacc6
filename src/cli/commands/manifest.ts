import path from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { finding } from '../../core/errors.ts'
import { partText } from '../../core/part.ts'
import { givesKey } from '../../core/store-key-env.ts'
import { healthText } from '../../report/text/health-text.ts'
import type { ManifestSummary } from '../../roles/maintain/inspect-manifest.ts'
import type { StoreLocation } from '../../roles/maintain/store-location.ts'
import { type CommonFlags, withCommonFlags, withExamples } from '../flags.ts'

const EXIT_BAD_DATA = 65

type ShowFlags = CommonFlags & {
  readonly samples?: number
  readonly seed: number
  readonly store?: string
  readonly keyFile?: string
  readonly tokenizer?: string
}
type ConvertFlags = CommonFlags & { readonly to?: string; readonly from?: string }
type VerifyFlags = CommonFlags & { readonly store?: string; readonly keyFile?: string }

export function addManifest(program: Command): void {
  const manifest = program
    .command('manifest')
    .description('show, verify or convert a manifest: the samples that a producer published')
  withExamples(manifest, ['manifest show features/manifest', 'manifest verify features/manifest'])
  const show = manifest
    .command('show')
    .description('print state, target, and what the samples are like; works before it is complete')
    .argument('<dir>', 'the manifest folder')
    .option('--samples <n>', 'also show so many random samples as text, with the trained tokens marked', countOf)
    .option('--seed <n>', 'which samples: the same seed gives the same ones', countOf, 0)
    .option('--store <dir>', 'the store of the samples; default: the one around the manifest or beside it')
    .option('--key-file <file>', 'the file with the key of the store; default: DRAFTBRIDGE_STORE_KEY')
    .option('--tokenizer <dir>', "the tokenizer of the samples; default: the target's, where the producer had it")
  withExamples(show, [
    'manifest show features/manifest',
    'manifest show DIR --json',
    'manifest show DIR --samples 5 --store /mnt/features',
  ])
  const verify = manifest
    .command('verify')
    .description('check every hash, every count and every ref; exit 65 if one is bad')
    .argument('<dir>', 'the manifest folder')
    .option('--store <dir>', 'also check that every sample is in this store, and the signature if the store has a key')
    .option('--key-file <file>', 'the file with the key of the store; default: DRAFTBRIDGE_STORE_KEY')
  withExamples(verify, ['manifest verify features/manifest && echo good', 'manifest verify DIR --store /mnt/features'])
  const convert = manifest
    .command('convert')
    .description('write the refs as one JSON file, the manifest format of SpecForge')
    .argument('[dir]', 'the manifest folder')
    .option('--to <file>', 'the JSON file to write')
    .option('--from <file>', 'print how to get the samples of a SpecForge manifest into a draftbridge manifest')
  withExamples(convert, ['manifest convert features/manifest --to reference.json'])
  for (const command of [show, verify, convert]) {
    withCommonFlags(command).option('--json', 'print one JSON document on stdout')
  }
  show.action(showManifest)
  verify.action(verifyOne)
  convert.action(async (dir: string | undefined, flags: ConvertFlags) => {
    const { convertToSpecForge, rejectSpecForge } = await import('../../roles/maintain/convert-manifest.ts')
    if (flags.from !== undefined) return rejectSpecForge(path.resolve(flags.from))
    if (dir === undefined || flags.to === undefined)
      return convert.error('error: give the manifest folder and --to FILE, or --from FILE')
    const { samples } = await convertToSpecForge(path.resolve(dir), path.resolve(flags.to))
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ samples, file: flags.to }, null, 2)}\n`)
    else if (flags.quiet !== true) process.stderr.write(`${samples} refs written to ${flags.to}\n`)
  })
}

async function showManifest(dir: string, flags: ShowFlags): Promise<void> {
  const { inspectManifest } = await import('../../roles/maintain/inspect-manifest.ts')
  const { samples: count = 0, seed, tokenizer = null } = flags
  const place = tokenizer === null ? null : path.resolve(tokenizer)
  const samples = count === 0 ? null : { count, seed, store: storeOf(flags), tokenizer: place }
  const summary = await inspectManifest(path.resolve(dir), Date.now(), samples)
  process.stdout.write(flags.json === true ? `${JSON.stringify(summary, null, 2)}\n` : summaryText(summary))
}

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be a whole number, such as 10.')
}

/** The store that the flags name; null when none is named. */
function storeOf({ store: root, keyFile }: Pick<VerifyFlags, 'store' | 'keyFile'>): StoreLocation | null {
  if (root !== undefined) return { root, config: null, keyFile: keyFile ?? null }
  if (keyFile === undefined) return null
  const found = '--key-file without --store'
  const fix = 'add --store DIR: the salt of the key is in store.json'
  throw finding('CONFIG_INVALID', 'a signature cannot be checked without the store', { field: '--store', found, fix })
}

async function verifyOne(dir: string, flags: VerifyFlags): Promise<void> {
  const { verifyManifest } = await import('../../roles/maintain/inspect-manifest.ts')
  const { samples, sha256, missing } = await verifyManifest(path.resolve(dir), storeOf(flags))
  const ok = missing === null || missing.length === 0
  if (!ok) process.exitCode = EXIT_BAD_DATA
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify({ ok, samples, sha256, missing }, null, 2)}\n`)
    return
  }
  if (!ok) {
    for (const name of missing) process.stdout.write(`${name}\n`)
    process.stderr.write(`bad: ${missing.length} of ${samples} samples are not in the store; run the producer again\n`)
  } else if (flags.quiet !== true) {
    const unchecked = givesKey() ? '; the signature was not checked, which needs --store' : ''
    const stored = missing === null ? unchecked : ', every sample is in the store'
    process.stderr.write(`good: ${samples} refs, every hash and count is right${stored}\n`)
  }
}

function summaryText({ histogram: _, heartbeatSeconds, parts, part, health, ...summary }: ManifestSummary): string {
  const shown = part === null ? summary : { ...summary, part }
  const lines = Object.entries(shown).map(([name, value]) => `${name.padEnd(12)} ${text(value)}`)
  for (const { index, state, error, samples } of parts ?? []) {
    const found = `${state === 'missing' ? 'not begun' : state}${error === null ? '' : ` (${error})`}, ${samples} samples`
    lines.push(`${(index === 0 ? 'parts' : '').padEnd(12)} ${partText({ index, count: parts?.length ?? 0 })} ${found}`)
  }
  if (summary.state !== 'complete') lines.push(`${'heartbeat'.padEnd(12)} ${heartbeatSeconds} s ago`)
  return `${lines.join('\n')}\n${healthText(health)}\n`
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
