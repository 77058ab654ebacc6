import type { Command } from 'commander'
import { type ReplaceFlag, type RunFlags, replaceSet, withExamples, withReplaceFlag, withRunFlags } from '../flags.ts'
import { type PartFlag, partOf, withPartFlag } from '../part-flag.ts'
import type { Stop } from '../sessions/stop.ts'

export function addCapture(program: Command, stop: Stop): void {
  const command = program
    .command('capture')
    .description('run the target model on conversations: store the features, publish the manifest')
  withExamples(command, [
    'capture',
    'capture -c runs/a.yaml --set data.limit=100',
    'capture --part 0/4',
    'capture --json-lines > events.ndjson',
  ])
  withPartFlag(withReplaceFlag(withRunFlags(command))).action(async (flags: RunFlags & ReplaceFlag & PartFlag) => {
    const { produceFrom } = await import('../sessions/produce-session.ts')
    const part = await partOf(flags, command)
    await produceFrom('capture', { ...flags, set: [...flags.set, ...replaceSet(flags)] }, part, stop)
  })
}
