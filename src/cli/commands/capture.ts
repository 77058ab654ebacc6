import type { Command } from 'commander'
import { type ReplaceFlag, type RunFlags, replaceSet, withExamples, withReplaceFlag, withRunFlags } from '../flags.ts'
import type { Stop } from '../sessions/stop.ts'

export function addCapture(program: Command, stop: Stop): void {
  const command = program
    .command('capture')
    .description('run the target model on conversations: store the features, publish the manifest')
  withExamples(command, [
    'capture',
    'capture -c runs/a.yaml --set data.limit=100',
    'capture --json-lines > events.ndjson',
  ])
  withReplaceFlag(withRunFlags(command)).action(async (flags: RunFlags & ReplaceFlag) => {
    const { produceFrom } = await import('../sessions/produce-session.ts')
    await produceFrom('capture', { ...flags, set: [...flags.set, ...replaceSet(flags)] }, stop)
  })
}
