// Trains, and kills itself right after the checkpoint of step 4: killed-run.ts DIR
import { watched } from '../../support/training.ts'
import { installMedusa } from './medusa.ts'
import { medusaConfig, trainMedusa } from './medusa-run.ts'

const [dir = ''] = process.argv.slice(2)
const context = watched((body) => {
  if (body.event === 'train.checkpoint' && body.step === 4) process.kill(process.pid, 'SIGKILL')
})
await trainMedusa(await installMedusa(), medusaConfig(dir, 'killed'), context)
