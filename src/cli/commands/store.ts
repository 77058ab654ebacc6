import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { stoppable } from '../../core/interruption.ts'
import type { StorePlace } from '../../roles/maintain/store-place.ts'
import { withExamples } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'
import { milliseconds, placeOf, type StoreFlags, withManifestFlag, withStoreFlags } from '../store-flags.ts'
import { gcText, isGood, progressText, removedText, summaryTable, verdictText } from '../texts/store-text.ts'
import { addRekey } from './store-rekey.ts'

const BAD = 65

/** Look at a store, check it, clean it, remove runs from it. */
export function addStore(program: Command, stop: Stop): Command {
  const store = program.command('store').description('look at a feature store, check it, clean it, remove a run')
  withExamples(store, [
    'store ls --store /mnt/features',
    'store verify --store /mnt/features --manifest /mnt/features/manifest',
    'store gc --store /mnt/features --dry-run',
    'store rm old-run --store /mnt/features',
  ])
  addLs(store, stop)
  addVerify(store, stop)
  addGc(store, stop)
  addRm(store, stop)
  addRekey(store, stop)
  return store
}

function addLs(store: Command, stop: Stop): void {
  const command = store.command('ls').description('runs, samples, bytes, what is held and by whom, and the quota')
  withExamples(command, ['store ls', 'store ls --store DIR --json', 'store ls --store DIR --samples --json-lines'])
  withStoreFlags(command)
    .option('--json', 'print one JSON document on stdout')
    .option('--json-lines', 'one JSON line for each run, with --samples for each sample')
    .option('--samples', 'each sample by itself, and who holds it')
    .action(async (flags: LsFlags) => {
      const place = await placeOf(flags, command, stop)
      await stoppable(stop.signal, () => (flags.samples === true ? eachSample : summary)(place, flags, stop.signal))
    })
}

type LsFlags = StoreFlags & { readonly samples?: boolean }

async function summary(place: StorePlace, flags: LsFlags, signal: AbortSignal): Promise<void> {
  const { summariseStore } = await import('../../roles/maintain/store-ls.ts')
  const found = await summariseStore(place, signal)
  if (flags.json === true) print(JSON.stringify(found, null, 2))
  else if (flags.jsonLines === true) for (const run of found.runs) print(JSON.stringify(run))
  else print(summaryTable(found))
}

async function eachSample(place: StorePlace, flags: LsFlags, signal: AbortSignal): Promise<void> {
  const { listSamples } = await import('../../roles/maintain/store-ls.ts')
  const all = []
  for await (const sample of listSamples(place, signal)) {
    const { sampleId, generation, run, bytes, modified, held } = sample
    if (flags.json === true) all.push(sample)
    else if (flags.jsonLines === true) print(JSON.stringify(sample))
    else print([`${sampleId}@${generation}`, run ?? '', bytes, modified, held.join(', ')].join('\t'))
  }
  if (flags.json === true) print(JSON.stringify({ samples: all }, null, 2))
}

function addVerify(store: Command, stop: Stop): void {
  const command = store
    .command('verify')
    .description('read every sample again; bad ones go to quarantine/; exit 65 when any is bad or missing')
  withExamples(command, [
    'store verify --store DIR && echo good',
    'store verify --store DIR --manifest MANIFEST --json',
    'store verify --store DIR --dry-run',
  ])
  withManifestFlag(
    withStoreFlags(command),
    'compare with its refs, and name those that point at bad samples; may be repeated',
  )
    .option('--dry-run', 'only look: bad samples stay where they are')
    .option('--restart', 'begin anew where an earlier check was cut short')
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly restart?: boolean }) => {
      const { verifyWholeStore } = await import('../../roles/maintain/store-verify.ts')
      const place = await placeOf(flags, command, stop)
      const progress = progressLine(flags.quiet === true)
      const verdict = await stoppable(stop.signal, () =>
        verifyWholeStore(place, {
          manifests: flags.manifest.map((dir) => path.resolve(dir)),
          dryRun: flags.dryRun === true,
          restart: flags.restart === true,
          signal: stop.signal,
          onProgress: progress,
        }),
      )
      if (flags.json === true) print(JSON.stringify({ ok: isGood(verdict), ...verdict }, null, 2))
      else if (flags.quiet !== true || !isGood(verdict)) say(verdictText(verdict))
      if (!isGood(verdict)) process.exitCode = BAD
    })
}

function addGc(store: Command, stop: Stop): void {
  const command = store.command('gc').description('remove what nobody needs: leftovers, replaced samples, orphans')
  withExamples(command, [
    'store gc --store DIR --dry-run',
    'store gc --store DIR --manifest MANIFEST-A --manifest MANIFEST-B',
    'store gc --store DIR --grace 10m',
  ])
  withManifestFlag(
    withStoreFlags(command),
    'samples of its run that it does not list are orphans, and go; may be repeated',
  )
    .option('--grace <time>', 'what is younger stays, as in 90s, 15m, 1h, 2d', '1h')
    .option('--dry-run', 'only say what would go')
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly grace: string }) => {
      const graceMs = milliseconds(flags.grace)
      if (graceMs === null)
        command.error(`error: option '--grace' wants a time as 90s, 15m, 1h or 2d, not '${flags.grace}'`)
      const { cleanStore } = await import('../../roles/maintain/store-gc.ts')
      const place = await placeOf(flags, command, stop)
      const manifests = flags.manifest.map((dir) => path.resolve(dir))
      const options = { manifests, graceMs: graceMs ?? 0, dryRun: flags.dryRun === true, signal: stop.signal }
      const report = await stoppable(stop.signal, () => cleanStore(place, options))
      if (flags.json === true) print(JSON.stringify(report, null, 2))
      else if (flags.quiet !== true) print(gcText(report, manifests.length > 0))
    })
}

function addRm(store: Command, stop: Stop): void {
  const command = store.command('rm').description('remove all samples of one run').argument('<run>')
  withExamples(command, ['store rm old-run --store DIR --dry-run', 'store rm old-run --store DIR --yes'])
  withStoreFlags(command)
    .option('--yes', 'do not ask')
    .option('--force', 'also while other processes have the store open; samples that they hold stay')
    .option('--dry-run', 'only say what would go')
    .option('--json', 'print one JSON document on stdout')
    .action(async (run: string, flags: StoreFlags & { readonly yes?: boolean; readonly force?: boolean }) => {
      const { removeRun } = await import('../../roles/maintain/store-rm.ts')
      const place = await placeOf(flags, command, stop)
      const agree = (objects: number, size: string) =>
        agreed(flags.yes === true, `remove ${objects} samples, ${size}, of ${run}?`, stop)
      const { bytes } = await import('../../report/words.ts')
      const report = await stoppable(stop.signal, () =>
        removeRun(place, {
          run,
          dryRun: flags.dryRun === true,
          force: flags.force === true,
          signal: stop.signal,
          agree: (objects, size) => agree(objects, bytes(size)),
        }),
      )
      if (flags.json === true) print(JSON.stringify(report, null, 2))
      else if (flags.quiet !== true) say(removedText(report))
    })
}

/** A script has said what it wants by calling; only a person is asked. */
async function agreed(yes: boolean, question: string, stop: Stop): Promise<boolean> {
  if (yes || !process.stdin.isTTY) return true
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await asking.question(`${question} [y/N] `, { signal: stop.signal })).trim())
  } finally {
    asking.close()
  }
}

function progressLine(quiet: boolean) {
  const everyMs = process.stderr.isTTY ? 500 : 10_000
  const begun = performance.now()
  let [shown, first] = [begun, -1]
  return (done: { objects: number; bytes: number }, all: { objects: number; bytes: number }): void => {
    if (first < 0) first = done.bytes
    const now = performance.now()
    if (quiet || now - shown < everyMs) return
    shown = now
    const text = progressText(done, all, ((done.bytes - first) / (now - begun)) * 1000)
    if (!process.stderr.isTTY) process.stderr.write(`${text}\n`)
    else process.stderr.write(done.objects === all.objects ? '\r\u001b[K' : `\r\u001b[K${text}`)
  }
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}
