import path from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../../scripts/results/checkout.ts'
import { commandLine } from '../../../scripts/results/machine.ts'

const script = path.join(checkout, 'scripts/bench/store.ts')

it('the command is what the reader types: through npm where npm started the script', () => {
  const argv = ['node', script, '--turns', '5', '--record']
  expect(commandLine(argv, { npm_lifecycle_event: 'bench:store' })).toBe('npm run bench:store -- --turns 5 --record')
  expect(commandLine(['node', script], { npm_lifecycle_event: 'bench:store' })).toBe('npm run bench:store')
  expect(commandLine(argv, {})).toBe('node --import tsx scripts/bench/store.ts --turns 5 --record')
})

it('folders of one machine stay out of the command, and names with blanks are quoted', () => {
  const argv = ['node', script, '--dir', '/mnt/fast', '--dir=/mnt/fast', 'all live, 4 x 2048']
  expect(commandLine(argv, { npm_lifecycle_event: 'bench:train' })).toBe(
    "npm run bench:train -- --dir DIR --dir=DIR 'all live, 4 x 2048'",
  )
})
