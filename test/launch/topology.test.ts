import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { freePort, thisMachine } from '../../src/launch/machine.ts'
import { RankPlace, ranksOfNode, topology } from '../../src/launch/topology.ts'
import { tempDir } from '../support/temp-dir.ts'

const one = { ranks: 1, cores: 2, master: { addr: '127.0.0.1', port: 29_500 } }

it('auto is one rank per GPU, and one on a machine without', () => {
  expect(ranksOfNode('auto', { gpus: 0 })).toBe(1)
  expect(ranksOfNode('auto', { gpus: 4 })).toBe(4)
  expect(ranksOfNode(3, { gpus: 0 })).toBe(3)
})

it('ranks of all nodes are numbered without gaps, and local ranks start at 0 on each', () => {
  const places = [0, 2, 4].flatMap((firstRank) => topology({ ...one, ranks: 2, firstRank, worldSize: 6 }))
  expect(places.map((place) => place.rank)).toEqual([0, 1, 2, 3, 4, 5])
  expect(places.map((place) => place.localRank)).toEqual([0, 1, 0, 1, 0, 1])
  for (const place of places) expect(RankPlace.parse(place).worldSize).toBe(6)
})

it('threads are divided among the ranks, and every rank has at least one', () => {
  const threads = (ranksPerNode: number, cores: number) => topology({ ...one, ranks: ranksPerNode, cores })[0]?.threads
  expect([threads(1, 2), threads(2, 2), threads(2, 9), threads(3, 2)]).toEqual([2, 1, 4, 1])
})

it('more ranks than GPUs are rejected', () => {
  expect(() => ranksOfNode(3, { gpus: 2 })).toThrow(/3 ranks, 2 GPU/)
})

it('a free port can be bound', async () => {
  const port = await freePort()
  await new Promise<void>((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(port, '127.0.0.1', () => server.close(() => resolve()))
  })
})

it('a GPU is a device file that CUDA_VISIBLE_DEVICES does not hide', async () => {
  const devices = await tempDir()
  const names = ['nvidia0', 'nvidia1', 'nvidia2', 'nvidia10', 'nvidiactl', 'nvidia-uvm', 'sda1']
  for (const name of names) await writeFile(path.join(devices, name), '')
  vi.stubEnv('CUDA_VISIBLE_DEVICES', undefined)
  onTestFinished(() => void vi.unstubAllEnvs())
  const gpus = async (visible?: string) => (await thisMachine(visible, devices)).gpus
  expect(await gpus()).toBe(4)
  expect([await gpus(''), await gpus('-1'), await gpus(' , -1')]).toEqual([0, 0, 0])
  expect([await gpus('2'), await gpus('GPU-a, GPU-b'), await gpus('0,1,2,3,4,5')]).toEqual([1, 2, 4])
  vi.stubEnv('CUDA_VISIBLE_DEVICES', '1,2')
  expect(await thisMachine(undefined, devices)).toEqual({ gpus: 2, cores: os.availableParallelism() })
  expect((await thisMachine(undefined, path.join(devices, 'none'))).gpus).toBe(0)
})
