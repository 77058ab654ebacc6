import { describe, expect, it } from 'vitest'
import { launchers } from '../../../src/launch/nodes/launchers.ts'
import { nodePlace } from '../../../src/launch/nodes/node-place.ts'

const auto = { nodes: 'auto' } as const

describe.each(launchers.map((launcher) => [launcher.rank, launcher] as const))('%s', (_, launcher) => {
  const needed = launcher.needs === null ? {} : { [launcher.needs]: '0' }
  const env = (rank: string, count: string) => ({ ...needed, [launcher.rank]: rank, [launcher.count]: count })

  it('tells the node, the number of nodes and the address of node 0', () => {
    const head = launcher.head === null ? {} : { [launcher.head]: '10.0.0.1\n10.0.0.2' }
    expect(nodePlace({ ...env('2', '3'), ...head }, auto)).toEqual({
      node: 2,
      nodes: 3,
      head: launcher.head === null ? null : '10.0.0.1',
    })
  })

  it('that says something else than a number is refused, by the name of the variable', () => {
    expect(() => nodePlace(env('first', '3'), auto)).toThrow(`${launcher.rank}=first`)
    expect(() => nodePlace(env('0', '1:4'), auto)).toThrow(`${launcher.count}=1:4`)
    expect(() => nodePlace(env('0', '0'), auto)).toThrow(`${launcher.count}=0`)
  })

  it('that numbers a node outside of the job is refused', () => {
    expect(() => nodePlace(env('3', '3'), auto)).toThrow(`${launcher.rank}=3, ${launcher.count}=3`)
  })

  it('that contradicts launch.nodes is refused, naming both', () => {
    expect(() => nodePlace(env('0', '3'), { nodes: 2 })).toThrow(`${launcher.count}=3, launch.nodes=2`)
  })
})

it('without a launcher there is one node', () => {
  expect(nodePlace({}, auto)).toEqual({ node: 0, nodes: 1, head: null })
  expect(nodePlace({ NODE_RANK: '' }, { nodes: 1 })).toEqual({ node: 0, nodes: 1, head: null })
})

it('several launchers that agree are one, and two that do not are refused by name', () => {
  const rcli = { RCLI_NODE_RANK: '1', RCLI_NUM_NODES: '2' }
  expect(nodePlace({ ...rcli, SLURM_STEP_ID: '0', SLURM_NODEID: '1' }, auto)).toMatchObject({ node: 1, nodes: 2 })
  expect(() => nodePlace({ ...rcli, NODE_RANK: '0' }, auto)).toThrow('RCLI_NODE_RANK=1, NODE_RANK=0')
  expect(nodePlace({ ...rcli, RCLI_HEAD_IP: '10.0.0.1', PET_MASTER_ADDR: 'job-0.svc' }, auto).head).toBe('10.0.0.1')
})

it('the batch script of Slurm is not a node of its job', () => {
  expect(nodePlace({ SLURM_NODEID: '0', SLURM_STEP_NUM_NODES: '4' }, auto)).toMatchObject({ nodes: 1 })
})

it('says what is missing when only the rank or only the number of nodes is known', () => {
  expect(() => nodePlace({ NODE_RANK: '1' }, auto)).toThrow('NODE_RANK=1, and nothing says how many nodes there are')
  expect(nodePlace({ NODE_RANK: '1' }, { nodes: 2 })).toMatchObject({ node: 1, nodes: 2 })
  expect(() => nodePlace({ NUM_NODES: '2' }, auto)).toThrow('NUM_NODES=2, and nothing says which of the nodes this is')
  expect(() => nodePlace({}, { nodes: 2 })).toThrow('launch.nodes=2, and nothing says which')
})
