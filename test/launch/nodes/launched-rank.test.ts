import { expect, it } from 'vitest'
import { launchedRank } from '../../../src/launch/nodes/launched-rank.ts'

const master = { MASTER_ADDR: '10.0.0.1', MASTER_PORT: '29500' }
const torchrun = { RANK: '3', LOCAL_RANK: '1', WORLD_SIZE: '4', LOCAL_WORLD_SIZE: '2', ...master }
const srun = { SLURM_PROCID: '9', SLURM_LOCALID: '1', SLURM_NTASKS: '20', ...master }

it('reads the rank that torchrun has given, and how often it has started the job again', () => {
  expect(launchedRank({ ...torchrun, TORCHELASTIC_RESTART_COUNT: '2' })).toEqual({
    launcher: 'torchrun',
    rank: 3,
    localRank: 1,
    worldSize: 4,
    localRanks: 2,
    masterAddr: '10.0.0.1',
    masterPort: 29_500,
    restart: 2,
  })
})

it.each([
  ['8(x2),4', 8],
  ['4', 4],
])('reads the rank that srun has given, with %s tasks on its nodes', (tasks, localRanks) => {
  const rank = launchedRank({ ...srun, SLURM_TASKS_PER_NODE: tasks })
  expect(rank).toMatchObject({ launcher: 'srun', rank: 9, localRank: 1, worldSize: 20, localRanks, restart: 0 })
})

it.each([
  ['RANK', '4', 'RANK'],
  ['RANK', ' ', 'RANK'],
  ['WORLD_SIZE', '0x10', 'WORLD_SIZE=0x10'],
  ['LOCAL_WORLD_SIZE', '0', 'LOCAL_WORLD_SIZE=0'],
  ['MASTER_PORT', '70000', 'MASTER_PORT=70000'],
  ['MASTER_ADDR', '', 'MASTER_ADDR'],
])('refuses %s=%j by its name', (name, value, text) => {
  expect(() => launchedRank({ ...torchrun, [name]: value })).toThrow(text)
})

it('says which launchers it knows when there is none', () => {
  expect(() => launchedRank(master)).toThrow('RANK or SLURM_PROCID')
})
