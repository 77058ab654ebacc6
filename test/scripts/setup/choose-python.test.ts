import { describe, expect, it } from 'vitest'
import { candidates, choosePython, faultOf } from '../../../scripts/setup/choose-python.mjs'
import type { Probe, PythonFacts } from '../../../scripts/setup/probe-python.mjs'

const debian: PythonFacts = {
  executable: '/usr/bin/python3.11',
  implementation: 'CPython',
  version: '3.11.2',
  ldversion: '3.11',
  include: '/usr/include/python3.11',
  headers: '3.11.2',
  libdir: '/usr/lib/x86_64-linux-gnu',
  library: '/usr/lib/x86_64-linux-gnu/libpython3.11.so',
  shared: true,
  venv: true,
}
const pyenv: PythonFacts = {
  ...debian,
  executable: '/opt/pyenv/versions/3.11.7/bin/python3.11',
  version: '3.11.7',
  headers: '3.11.7',
  libdir: '/opt/pyenv/versions/3.11.7/lib',
  library: '/opt/pyenv/versions/3.11.7/lib/libpython3.11.so',
}

const installed =
  (table: Record<string, PythonFacts>) =>
  (command: string): Probe => {
    const facts = table[command]
    return facts === undefined ? { ok: false, reason: 'not found' } : { ok: true, facts }
  }

function chosen(asked: Parameters<typeof candidates>[0], table: Record<string, PythonFacts>): string {
  const choice = choosePython(candidates(asked), installed(table))
  return choice.ok ? choice.facts.executable : `${choice.missing.what}: ${choice.missing.found}`
}

describe('the interpreter', () => {
  it('is the first python3 on PATH when that can be embedded', () => {
    expect(chosen({}, { python3: pyenv, '/usr/bin/python3': debian })).toBe(pyenv.executable)
  })

  it('is the system one when the first on PATH has headers of another version', () => {
    const shim = { ...pyenv, include: debian.include, headers: '3.11.2' }
    expect(chosen({}, { python3: shim, '/usr/bin/python3': debian })).toBe(debian.executable)
  })

  it('stays that of the earlier set-up when PATH changes', () => {
    expect(chosen({ earlier: '/usr/bin/python3.11' }, { '/usr/bin/python3.11': debian, python3: pyenv })).toBe(
      debian.executable,
    )
  })

  it('is another one when that of the earlier set-up is gone', () => {
    expect(chosen({ earlier: '/gone/python3.11' }, { python3: pyenv })).toBe(pyenv.executable)
  })

  it('is the one that the flag names, before the environment and the earlier set-up', () => {
    const table = { a: pyenv, b: debian, c: debian }
    expect(chosen({ flag: 'a', env: 'b', earlier: 'c' }, table)).toBe(pyenv.executable)
    expect(chosen({ env: 'b', earlier: 'a' }, table)).toBe(debian.executable)
  })

  it('is never a second choice when the user named one that fails', () => {
    const said = chosen({ flag: 'mine' }, { python3: pyenv })
    expect(said).toContain('--python names mine: not found')
    expect(chosen({ env: 'old' }, { old: { ...pyenv, version: '3.9.18' }, python3: pyenv })).toContain('3.9.18')
  })
})

describe('a refusal', () => {
  it('names both versions when a shim of 3.11.7 meets the headers of 3.11.2', () => {
    const fault = faultOf({ ...pyenv, include: debian.include, headers: '3.11.2' }, 'python3')
    expect(fault?.found).toContain('3.11.7')
    expect(fault?.found).toContain('/usr/include/python3.11 are those of 3.11.2')
    expect(fault?.fix).toContain('DRAFTBRIDGE_PYTHON')
  })

  it('names the package of the missing headers, and of the interpreter that was named', () => {
    const bare = { ...debian, headers: null }
    expect(faultOf(bare, 'python3')?.debian).toBe('python3-dev python3-venv')
    expect(faultOf(bare, '/usr/bin/python3.11')).toMatchObject({
      debian: 'python3.11-dev python3.11-venv',
      fedora: 'python3.11-devel',
    })
  })

  it('tells how to rebuild a Python that was built without a shared library', () => {
    const fault = faultOf({ ...pyenv, library: null, shared: false }, 'python3')
    expect(fault?.found).toContain('built without a shared libpython')
    expect(fault?.fix).toContain('--enable-shared')
  })

  it('asks for the development package when the shared library has no linker name', () => {
    expect(faultOf({ ...debian, library: null }, 'python3')?.debian).toContain('python3-dev')
  })

  it.each([
    ['too old', { version: '3.9.18' }, '3.9.18'],
    ['newer than the pinned packages', { version: '3.14.0' }, '3.14.0'],
    ['not CPython', { implementation: 'PyPy' }, 'PyPy'],
    ['without venv', { venv: false }, 'without venv'],
  ])('says what it found: %s', (_case, change, word) => {
    expect(faultOf({ ...debian, ...change }, 'python3')?.found).toContain(word)
  })

  it('is about the interpreter that lacks a package rather than about one of the wrong version', () => {
    const table = { python3: { ...pyenv, version: '3.8.18' }, '/usr/bin/python3': { ...debian, headers: null } }
    const said = chosen({}, table)
    expect(said).toContain('the C headers of Python are missing: Python 3.11.2')
    expect(said).toContain('also:  Python 3.8.18')
  })

  it('says that there is no Python when there is none', () => {
    expect(chosen({}, {})).toContain('no python3 on PATH')
  })
})
