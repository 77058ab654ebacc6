// A producer for the test of take-over: publishes one ref, says so, and goes on at each line it is told.
import { createInterface } from 'node:readline/promises'
import { CodedError } from '../../../src/core/errors.ts'
import { ManifestWriter } from '../../../src/refs/manifest.ts'
import { work } from '../../support/producer-work.ts'
import { exampleRef } from '../../support/refs.ts'

const [dir = ''] = process.argv.slice(2)
const say = (text: string) => process.stdout.write(`${text}\n`)
const outcome = async (doing: Promise<unknown>): Promise<string> =>
  doing.then(
    () => 'done',
    (error: unknown) => (error instanceof CodedError ? `${error.code} ${error.message.split('\n')[0]}` : String(error)),
  )

const writer = await ManifestWriter.open(work(dir))
writer.append(exampleRef(0))
await writer.flush()
say('published')
for await (const line of createInterface(process.stdin)) {
  if (line === 'append') {
    writer.append(exampleRef(1))
    say(await outcome(writer.flush()))
  } else if (line === 'heartbeat') say(await outcome(writer.flush()))
  else if (line === 'withdraw') {
    writer.withdraw(exampleRef(0).sampleId)
    say(await outcome(writer.flush()))
  } else if (line === 'complete') say(await outcome(writer.complete([])))
  else break
}
await writer[Symbol.asyncDispose]()
say('closed')
