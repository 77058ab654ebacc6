import os from 'node:os'
import { expect, it, vi } from 'vitest'
import { resolvePaths } from '../../src/config/paths.ts'
import { RunConfig } from '../../src/config/schema.ts'

it('the paths of a config need no home of the user unless a path begins with ~', async () => {
  const home = vi.spyOn(os, 'homedir').mockImplementation(() => {
    throw new Error('no entry of this user')
  })
  try {
    const config = RunConfig.parse({ version: 1, run: { id: 'r' }, target: { model: 'm' }, manifest: 'here' })
    expect(resolvePaths(config, { folder: '/runs', env: {} }).config.manifest).toBe('/runs/here')
    const inHome = { ...config, manifest: '~/here' }
    expect(() => resolvePaths(inHome, { folder: '/runs', env: {} })).toThrow('no entry of this user')
  } finally {
    home.mockRestore()
  }
})
