import { readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import { isErrno } from '../core/errors.ts'
import type { Machine } from './topology.ts'

/** GPUs and CPU cores of this machine, without loading torch. GPUs are counted by the device files of this container. */
export async function thisMachine(
  visibleGpus = process.env['CUDA_VISIBLE_DEVICES'],
  deviceFolder = '/dev',
): Promise<Machine> {
  const devices = (await devicesOf(deviceFolder)).filter((name) => /^nvidia\d+$/.test(name)).length
  const chosen = visibleGpus?.split(',').filter((id) => id.trim() !== '' && id.trim() !== '-1').length
  return { gpus: chosen === undefined ? devices : Math.min(chosen, devices), cores: os.availableParallelism() }
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
