import { expect, it } from 'vitest'
import { matchesLock, venvBelongsTo } from '../../../scripts/setup/packages.mjs'

const lock = {
  packages: {
    '': { version: '0.1.0' },
    'node_modules/zod': { version: '4.6.7', integrity: 'sha512-a' },
    'node_modules/@esbuild/win32-x64': { version: '0.27.0', integrity: 'sha512-b', optional: true },
  },
}
const zod = { version: '4.6.7', integrity: 'sha512-a' }

it('node_modules is in step when only packages of other platforms are absent', () => {
  expect(matchesLock(lock, { packages: { 'node_modules/zod': zod } })).toBe(true)
  expect(matchesLock(lock, { packages: {} })).toBe(false)
  expect(matchesLock(lock, null)).toBe(false)
})

it('node_modules is out of step when one package has another version or other content', () => {
  expect(matchesLock(lock, { packages: { 'node_modules/zod': { ...zod, version: '4.6.6' } } })).toBe(false)
  expect(matchesLock(lock, { packages: { 'node_modules/zod': { ...zod, integrity: 'sha512-c' } } })).toBe(false)
})

it('a virtual environment belongs to the interpreter whose program and version it names', () => {
  const cfg = 'home = /usr/bin\nversion = 3.11.2\nexecutable = /usr/bin/python3.11\n'
  const same = (file: string) => file
  expect(venvBelongsTo(cfg, { executable: '/usr/bin/python3.11', version: '3.11.2' }, same)).toBe(true)
  expect(venvBelongsTo(cfg, { executable: '/opt/bin/python3.11', version: '3.11.2' }, same)).toBe(false)
  expect(venvBelongsTo(cfg, { executable: '/usr/bin/python3.11', version: '3.11.7' }, same)).toBe(false)
})

it('a virtual environment of Python 3.10, which names no program, is known by its folder', () => {
  const cfg = 'home = /opt/bin\nversion = 3.10.13\n'
  const resolve = (file: string) => (file === '/opt/bin/python3' ? '/opt/bin/python3.10' : file)
  expect(venvBelongsTo(cfg, { executable: '/opt/bin/python3.10', version: '3.10.13' }, resolve)).toBe(true)
})
