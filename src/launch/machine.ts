import { readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import { isErrno } from '../core/errors.ts'
import type { Machine } from './topology.ts'

/** GPUs and CPU cores of this machine, without loading torch. GPUs are counted by the device files of this container. */
export async function thisMachine(
  visible = process.env['CUDA_VISIBLE_DEVICES'],
  deviceFolder = '/dev',
): Promise<Machine> {
  return { gpus: (await visibleGpus(visible, deviceFolder)).length, cores: os.availableParallelism() }
}

/** Each GPU that this process may use, as CUDA_VISIBLE_DEVICES names it. */
export async function visibleGpus(
  visible = process.env['CUDA_VISIBLE_DEVICES'],
  deviceFolder = '/dev',
): Promise<readonly string[]> {
  const devices = (await devicesOf(deviceFolder)).filter((name) => /^nvidia\d+$/.test(name))
  const chosen = visible?.split(',').map((id) => id.trim())
  const usable = chosen?.filter((id) => id !== '' && id !== '-1') ?? devices.map((_, index) => String(index))
  return usable.slice(0, devices.length)
}

async function devicesOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES')) return []
    throw error
  }
}

/** A free loopback port for the rendezvous of ranks on one node. Another process may still take it before they do. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}
