// A process for the tests of namespaces: takes the claim, or says why not; then beats until it is killed. All its times
// are a tenth of the real ones.
import { hostname } from 'node:os'
import { CodedError } from '../../../src/core/errors.ts'
import { claimFolder } from '../../../src/core/liveness/folder-claim.ts'
import { monotonic } from '../../../src/core/liveness/monotonic.ts'
import { Watch } from '../../../src/core/liveness/watch.ts'
import { shortened } from './shortened-time.ts'

const [dir = ''] = process.argv.slice(2)
const time = shortened(monotonic)
const started = time.now()
let waits = 0
const about = () => ({ pid: process.pid, host: hostname(), waits, ms: time.now() - started })
const say = (answer: object) => process.stdout.write(`${JSON.stringify({ ...about(), ...answer })}\n`)

try {
  const onWait = () => {
    waits += 1
  }
  const claim = await claimFolder(dir, 'train', { time, watch: new Watch({ time }), wait: { onWait } })
  say({ epoch: claim.epoch })
  process.stdin.on('data', () => {
    claim.assertHeld().then(
      () => say({ held: true }),
      () => say({ held: false }),
    )
  })
} catch (error) {
  say({ code: error instanceof CodedError ? error.code : String(error) })
  process.exit(0)
}
