import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { stoppable } from '../../core/interruption.ts'
import type { StoreLocation } from '../../roles/maintain/store-location.ts'
import { withExamples } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'
import {
  milliseconds,
  type StoreFlags,
  storeLocation,
  waitNotice,
  withManifestFlag,
  withStoreFlags,
} from '../store-flags.ts'
import { gcText, isGood, progressText, removedText, summaryTable, verdictText } from '../texts/store-text.ts'
import { addRekey } from './store-rekey.ts'

const EXIT_BAD_DATA = 65

/** `store`: list, verify and clean a store, remove runs from it, change its key. */
export function addStore(program: Command, stop: Stop): Command {
  const store = program
    .command('store')
    .description('list, verify or clean a feature store, remove a run, change the key')
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
  const command = store.command('ls').description('list runs with samples, bytes, leases and claims, and the quota')
  withExamples(command, ['store ls', 'store ls --store DIR --json', 'store ls --store DIR --samples --json-lines'])
  withStoreFlags(command)
    .option('--json', 'print one JSON document on stdout')
    .option('--json-lines', 'print one JSON line per run; with --samples, per sample')
    .option('--samples', 'list every sample, with the processes that hold it')
    .action(async (flags: LsFlags) => {
      const location = await storeLocation(flags, command)
      await stoppable(stop.signal, () => (flags.samples === true ? eachSample : summary)(location, flags, stop.signal))
    })
}

type LsFlags = StoreFlags & { readonly samples?: boolean }

async function summary(location: StoreLocation, flags: LsFlags, signal: AbortSignal): Promise<void> {
  const { summariseStore } = await import('../../roles/maintain/store-ls.ts')
  const store = await summariseStore(location, signal)
  if (flags.json === true) print(JSON.stringify(store, null, 2))
  else if (flags.jsonLines === true) for (const run of store.runs) print(JSON.stringify(run))
  else print(summaryTable(store))
}

async function eachSample(location: StoreLocation, flags: LsFlags, signal: AbortSignal): Promise<void> {
  const { listSamples } = await import('../../roles/maintain/store-ls.ts')
  const all = []
  for await (const sample of listSamples(location, signal)) {
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
    .description('read and check every sample; move bad ones to quarantine/; exit 65 if a sample is bad or missing')
  withExamples(command, [
    'store verify --store DIR && echo good',
    'store verify --store DIR --manifest MANIFEST --json',
    'store verify --store DIR --dry-run',
  ])
  withManifestFlag(
    withStoreFlags(command),
    'also check that its samples are stored, and name those that are bad; may be repeated',
  )
    .option('--dry-run', 'only report bad samples, do not move them')
    .option('--restart', 'start from the beginning, also if an earlier check was interrupted')
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly restart?: boolean }) => {
      const { verifyWholeStore } = await import('../../roles/maintain/store-verify.ts')
      const location = await storeLocation(flags, command)
      const progress = progressLine(flags.quiet === true)
      const verdict = await stoppable(stop.signal, () =>
        verifyWholeStore(location, {
          manifests: flags.manifest.map((dir) => path.resolve(dir)),
          dryRun: flags.dryRun === true,
          restart: flags.restart === true,
          signal: stop.signal,
          onProgress: progress,
        }),
      )
      if (flags.json === true) print(JSON.stringify({ ok: isGood(verdict), ...verdict }, null, 2))
      else if (flags.quiet !== true || !isGood(verdict)) printError(verdictText(verdict))
      if (!isGood(verdict)) process.exitCode = EXIT_BAD_DATA
    })
}

function addGc(store: Command, stop: Stop): void {
  const command = store.command('gc').description('delete leftovers of dead processes, old generations, and orphans')
  withExamples(command, [
    'store gc --store DIR --dry-run',
    'store gc --store DIR --manifest MANIFEST-A --manifest MANIFEST-B',
    'store gc --store DIR --grace 10m',
  ])
  withManifestFlag(
    withStoreFlags(command),
    'delete the orphans of its run: samples that it does not list; may be repeated',
  )
    .option('--grace <time>', 'keep everything newer than this: 90s, 15m, 1h, 2d', '1h')
    .option('--dry-run', 'only report what would be deleted')
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly grace: string }) => {
      const graceMs = milliseconds(flags.grace)
      if (graceMs === null)
        command.error(`error: option '--grace' must be a time such as 90s, 15m, 1h or 2d, not '${flags.grace}'`)
      const { cleanStore } = await import('../../roles/maintain/store-gc.ts')
      const location = await storeLocation(flags, command)
      const manifests = flags.manifest.map((dir) => path.resolve(dir))
      const shared = { dryRun: flags.dryRun === true, signal: stop.signal, onWait: waitNotice(flags) }
      const options = { manifests, graceMs: graceMs ?? 0, ...shared }
      const report = await stoppable(stop.signal, () => cleanStore(location, options))
      if (flags.json === true) print(JSON.stringify(report, null, 2))
      else if (flags.quiet !== true) print(gcText(report, manifests.length > 0))
    })
}

function addRm(store: Command, stop: Stop): void {
  const command = store.command('rm').description('delete all samples of one run').argument('<run>', 'the run id')
  withExamples(command, ['store rm old-run --store DIR --dry-run', 'store rm old-run --store DIR --yes'])
  withStoreFlags(command)
    .option('--yes', 'do not ask for confirmation')
    .option('--force', 'delete even while other processes have the store open, but never samples that they hold')
    .option('--dry-run', 'only report what would be deleted')
    .option('--json', 'print one JSON document on stdout')
    .action(async (run: string, flags: StoreFlags & { readonly yes?: boolean; readonly force?: boolean }) => {
      const { removeRun } = await import('../../roles/maintain/store-rm.ts')
      const location = await storeLocation(flags, command)
      const agree = (objects: number, size: string) =>
        agreed(flags.yes === true, `delete ${objects} samples (${size}) of run ${run}?`, stop)
      const { bytes } = await import('../../report/words.ts')
      const report = await stoppable(stop.signal, () =>
        removeRun(location, {
          run,
          dryRun: flags.dryRun === true,
          force: flags.force === true,
          signal: stop.signal,
          onWait: waitNotice(flags),
          agree: (objects, size) => agree(objects, bytes(size)),
        }),
      )
      if (flags.json === true) print(JSON.stringify(report, null, 2))
      else if (flags.quiet !== true) printError(removedText(report))
    })
}

/** Asks for confirmation, but only at a terminal: a script has decided by running the command. */
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
const printError = (text: string): void => {
  process.stderr.write(`${text}\n`)
}
