import type { Command } from 'commander'
import { withCommonFlags, withExamples } from '../flags.ts'

export function addSchema(program: Command): void {
  const command = program.command('schema').description('print the JSON Schema of the config, for editors')
  withExamples(command, ['schema > draftbridge.schema.json'])
  withCommonFlags(command).action(async () => {
    const { configJsonSchema } = await import('../../config/schema-tree.ts')
    process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
  })
}
