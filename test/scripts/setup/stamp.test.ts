import { describe, expect, it } from 'vitest'
import { BEGUN, blankStamp, dueSteps, STEPS, stepKeys } from '../../../scripts/setup/stamp.mjs'

const inputs = {
  packageLock: 'lock',
  requirements: 'torch',
  devRequirements: 'pytest',
  python: '/usr/bin/python3.11 3.11.2',
  node: '20.20.2',
  recipe: 'g++',
}
const keys = stepKeys(inputs)
const finished = { ...blankStamp(), done: { ...keys } }
const all = { dev: true, exists: () => true }

const dueAfter = (change: Partial<typeof inputs>) => dueSteps(finished, stepKeys({ ...inputs, ...change }), all)

describe('steps that are due', () => {
  it('are all of them in a new checkout, and the tools only when asked for', () => {
    expect(dueSteps(blankStamp(), keys, all)).toEqual([...STEPS])
    expect(dueSteps(blankStamp(), keys, { ...all, dev: false })).toEqual(STEPS.filter((step) => step !== 'dev'))
  })

  it('are none when nothing changed', () => {
    expect(dueSteps(finished, keys, all)).toEqual([])
  })

  it.each([
    ['another interpreter', { python: '/opt/python3.12 3.12.1' }, ['venv', 'python', 'dev', 'bridge', 'check']],
    ['other Python packages', { requirements: 'torch 2' }, ['python', 'dev', 'check']],
    ['other tools', { devRequirements: 'pytest 9' }, ['dev']],
    ['other node packages', { packageLock: 'lock 2' }, ['node', 'bridge', 'check']],
    ['another Node of the same major version', { node: '20.21.0' }, ['check']],
    ['another major version of Node', { node: '22.1.0' }, ['bridge', 'check']],
    ['another way to build the bridge', { recipe: 'g++ -O3' }, ['bridge', 'check']],
  ])('follow from %s', (_case, change, expected) => {
    expect(dueAfter(change)).toEqual(expected)
  })

  it('include one whose result somebody deleted, and what lies inside it', () => {
    const without = (gone: string) => dueSteps(finished, keys, { ...all, exists: (step: string) => step !== gone })
    expect(without('bridge')).toEqual(['bridge', 'check'])
    expect(without('node')).toEqual(['node', 'bridge', 'check'])
    expect(without('venv')).toEqual(['venv', 'python', 'dev', 'bridge', 'check'])
  })

  it('include the whole environment when pip was killed: a package may look installed and not be', () => {
    const killed = { ...finished, done: { ...keys, python: BEGUN } }
    expect(dueSteps(killed, keys, all)).toEqual(['venv', 'python', 'dev', 'bridge', 'check'])
  })
})
