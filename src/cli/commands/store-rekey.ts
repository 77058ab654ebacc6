import path from 'node:path'
import type { Command } from 'commander'
import { stoppable } from '../../core/interruption.ts'
import { withExamples } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'
import { placeOf, type StoreFlags, withManifestFlag, withStoreFlags } from '../store-flags.ts'

export function addRekey(store: Command, stop: Stop): void {
  const command = store
    .command('rekey')
    .description('give a protected store a new key; the old one opens it no more')
    .requiredOption('--new-key-file <file>', 'the key that the store gets')
  withExamples(command, ['store rekey --store DIR --key-file old.key --new-key-file new.key --manifest MANIFEST'])
  command.addHelpText('after', '\nA new key: (umask 077; openssl rand -hex 32 > new.key)')
  withManifestFlag(
    withStoreFlags(command),
    'a manifest of the store, to be signed with the new key; name all of them; may be repeated',
  )
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly newKeyFile: string }) => {
      const { rekeyStore } = await import('../../roles/maintain/store-rekey.ts')
      const place = await placeOf(flags, command, stop)
      const newKeyFile = path.resolve(flags.newKeyFile)
      const manifests = flags.manifest.map((dir) => path.resolve(dir))
      const report = await stoppable(stop.signal, () =>
        rekeyStore(place, { newKeyFile, manifests, signal: stop.signal }),
      )
      if (flags.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      else if (flags.quiet !== true) {
        const { store: id, objects, rewritten, keyId } = report
        process.stderr.write(`${id}: ${objects} objects are under the key ${keyId}, ${rewritten} of them since now\n`)
        process.stderr.write(`next: set store.auth.keyFile to ${flags.newKeyFile}, then delete the old key\n`)
      }
    })
}
