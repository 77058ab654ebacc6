/** A second producer: `node --import tsx put-until-refused.ts ROOT QUOTA NAME`. Waits for a line, prints how many it put. */
import { hasCode } from '../../src/core/errors.ts'
import { openStore, putSample } from './filled-store.ts'

const [root = '', quota = '', name = ''] = process.argv.slice(2)
const store = await openStore(root, Number(quota))
process.stdout.write('ready\n')
await new Promise((resolve) => process.stdin.once('data', resolve))
let count = 0
for (let full = false; !full; ) {
  try {
    await putSample(store, `${name}:${count}`)
    count += 1
  } catch (error) {
    full = hasCode(error, 'STORE_OVER_BUDGET')
    if (!full) throw error
  }
}
await store.close()
process.stdout.write(`${count}\n`)
process.exit()
