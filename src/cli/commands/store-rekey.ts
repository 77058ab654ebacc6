import path from 'node:path'
import type { Command } from 'commander'
import { stoppable } from '../../core/interruption.ts'
import { withExamples } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

import { type StoreFlags, storeLocation, waitNotice, withManifestFlag, withStoreFlags } from '../store-flags.ts'

export function addRekey(store: Command, stop: Stop): void {
  const command = store
    .command('rekey')
    .description('change the key of a store; afterwards the old key does not open it')
    .requiredOption('--new-key-file <file>', 'the file with the new key')
  withExamples(command, ['store rekey --store DIR --key-file old.key --new-key-file new.key --manifest MANIFEST'])
  command.addHelpText('after', '\nTo make a new key: (umask 077; openssl rand -hex 32 > new.key)')
  withManifestFlag(
    withStoreFlags(command),
    'a manifest of this store, to sign with the new key; name every manifest; may be repeated',
  )
    .option('--json', 'print one JSON document on stdout')
    .action(async (flags: StoreFlags & { readonly newKeyFile: string }) => {
      const { rekeyStore } = await import('../../roles/maintain/store-rekey.ts')
      const location = await storeLocation(flags, command)
      const newKeyFile = path.resolve(flags.newKeyFile)
      const manifests = flags.manifest.map((dir) => path.resolve(dir))
      const report = await stoppable(stop.signal, () =>
        rekeyStore(location, { newKeyFile, manifests, signal: stop.signal, onWait: waitNotice(flags) }),
      )
      if (flags.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      else if (flags.quiet !== true) {
        const { store: id, objects, rewritten, keyId } = report
        process.stderr.write(`store ${id}: all ${objects} objects now use the key ${keyId} (${rewritten} rewritten)\n`)
        process.stderr.write(`next: set store.auth.keyFile to ${flags.newKeyFile}, then delete the old key file\n`)
      }
    })
}
