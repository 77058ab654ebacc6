import { expect, it } from 'vitest'
import { type PoolRequest, poolPlace } from '../../src/roles/pools.ts'

const launch = { nodes: 'auto', producers: 1 } as const
const place = (env: NodeJS.ProcessEnv, more: Partial<PoolRequest> = {}) => {
  const { role, node, nodes } = poolPlace({ env, launch, ...more })
  return `${role} ${node}/${nodes}`
}
const job = (rank: number, nodes: number) => ({ RCLI_NODE_RANK: String(rank), RCLI_NUM_NODES: String(nodes) })

it('takes the role of the flag, else of DISAGG_ROLE, else of the node', () => {
  expect(place({ DISAGG_ROLE: 'consumer' }, { role: 'colocated' })).toBe('colocated 0/1')
  expect(place({ DISAGG_ROLE: 'consumer' })).toBe('consumer 0/1')
  expect(place({ DISAGG_ROLE: '' }, { role: 'producer' })).toBe('producer 0/1')
  expect(place(job(0, 2))).toBe('producer 0/1')
  expect(place(job(1, 2))).toBe('consumer 0/1')
})

it('the first launch.producers nodes produce, the others are one pool that trains', () => {
  const roles = (producers: number) => {
    const nodes = [0, 1, 2, 3]
    return nodes.map((rank) => place(job(rank, 4), { launch: { nodes: 4, producers } }))
  }
  expect(roles(1)).toEqual(['producer 0/1', 'consumer 0/3', 'consumer 1/3', 'consumer 2/3'])
  expect(roles(2)).toEqual(['producer 0/2', 'producer 1/2', 'consumer 0/2', 'consumer 1/2'])
  expect(roles(0)).toEqual(['consumer 0/4', 'consumer 1/4', 'consumer 2/4', 'consumer 3/4'])
  expect(roles(4)).toEqual(['producer 0/4', 'producer 1/4', 'producer 2/4', 'producer 3/4'])
})

it('a flag numbers the nodes of one pool, whatever the launcher says', () => {
  expect(place(job(0, 2), { role: 'consumer', node: '1/2' })).toBe('consumer 1/2')
  expect(() => place({}, { role: 'consumer', node: '2/2' })).toThrow('--node')
  expect(() => place({}, { role: 'consumer', node: 'two' })).toThrow('I/N')
  expect(() => place({}, { node: '0/2' })).toThrow('name the pool with --role')
  expect(() => place({}, { role: 'colocated', node: '0/2' })).toThrow('one node')
})

it('says what is missing, and suggests a role for a mistyped one', () => {
  expect(() => place({})).toThrow('the role of this process is not set')
  expect(() => place(job(0, 1))).toThrow('a job of one node')
  expect(() => place({ DISAGG_ROLE: 'produser' })).toThrow('did you mean producer?')
  expect(() => place({}, { role: 'boss' })).toThrow('one of producer | consumer | colocated')
})

it('settings that contradict each other are refused', () => {
  expect(() => place(job(0, 2), { role: 'consumer' })).toThrow(/consumer; node 0 of 2 is a producer/)
  expect(() => place({ ...job(1, 2), DISAGG_ROLE: 'producer' })).toThrow(/producer; node 1 of 2 is a consumer/)
  expect(() => place(job(0, 2), { role: 'colocated' })).toThrow('colocated training runs on one node')
  expect(() => place(job(0, 2), { launch: { nodes: 'auto', producers: 3 } })).toThrow('3 of 2 nodes')
})
