import type { Command } from 'commander'
import { type ReplaceFlag, type RunFlags, replaceSet, withExamples, withReplaceFlag, withRunFlags } from '../flags.ts'
import { type PartFlag, partOf, withPartFlag } from '../part-flag.ts'
import type { Stop } from '../sessions/stop.ts'

export function addIngest(program: Command, stop: Stop): void {
  const command = program.command('ingest').description('store existing feature files, publish the manifest')
  withExamples(command, [
    'ingest',
    "ingest --set features.files='/data/**/*.ckpt*'",
    'ingest --as speculators',
    'ingest --link reference',
    'ingest --replace',
    'ingest --part 0/4',
    'ingest --json',
  ])
  const modes = ['auto', 'reflink', 'hardlink', 'reference', 'copy']
  const link = command
    .createOption('--link <mode>', 'how tensors get into the store; sets features.link')
    .choices(modes)
  const layout = command
    .createOption('--as <layout>', 'layout of the files; sets features.layout')
    .choices(['auto', 'specforge', 'speculators', 'torchspec'])
  withPartFlag(withReplaceFlag(withRunFlags(command.addOption(layout).addOption(link)))).action(
    async (flags: RunFlags & ReplaceFlag & PartFlag & { readonly link?: string; readonly as?: string }) => {
      const { produceFrom } = await import('../sessions/produce-session.ts')
      const link = flags.link === undefined ? [] : [`features.link=${flags.link}`]
      const layout = flags.as === undefined ? [] : [`features.layout=${flags.as}`]
      const part = await partOf(flags, command)
      await produceFrom(
        'files',
        { ...flags, set: [...flags.set, ...layout, ...link, ...replaceSet(flags)] },
        part,
        stop,
      )
    },
  )
}
