import { describe, expect, it } from 'vitest'
import { missingMessage } from '../../../scripts/setup/problem.mjs'
import { findCompiler, findNodeHeaders, nodeFault } from '../../../scripts/setup/toolchain.mjs'

const node = { execPath: '/opt/node/bin/node', version: 'v20.20.2' }

describe('the compiler', () => {
  it('is CXX with its arguments, or else the first of g++ and clang++ that runs', () => {
    expect(findCompiler('ccache g++-13', (program) => program === 'ccache')).toEqual({
      ok: true,
      command: ['ccache', 'g++-13'],
    })
    expect(findCompiler(undefined, (program) => program !== 'g++')).toEqual({ ok: true, command: ['clang++'] })
  })

  it('is not replaced by another when CXX does not run', () => {
    const answer = findCompiler('icpc', (program) => program === 'g++')
    expect(answer.ok ? '' : answer.missing.found).toContain('CXX=icpc')
  })
})

describe('the headers of Node', () => {
  const headers = (table: Record<string, string>) => (folder: string) => table[folder] ?? null

  it('are those beside the running program', () => {
    const found = findNodeHeaders(node, headers({ '/opt/node/include/node': '20', '/other/include/node': '20' }))
    expect(found.include).toBe('/opt/node/include/node')
  })

  it('are those of npm_config_nodedir when there are none, or others, beside the program', () => {
    const nodedir = '/other'
    expect(findNodeHeaders({ ...node, nodedir }, headers({ '/other/include/node': '20' })).include).toBe(
      '/other/include/node',
    )
    const both = headers({ '/opt/node/include/node': '18', '/other/include/node': '20' })
    expect(findNodeHeaders({ ...node, nodedir }, both).include).toBe('/other/include/node')
  })

  it('are never those of another major version', () => {
    const found = findNodeHeaders(node, headers({ '/opt/node/include/node': '22' }))
    expect(found).toEqual({ include: null, seen: ['/opt/node/include/node: headers of Node 22'] })
  })
})

describe('what is missing', () => {
  it('is told in one message with one line of packages for each distribution', () => {
    const compiler = findCompiler(undefined, () => false)
    const message = missingMessage([
      { what: 'no headers', found: 'Python 3.11.2', debian: 'python3-dev python3-venv', fedora: 'python3-devel' },
      ...(compiler.ok ? [] : [compiler.missing]),
      { what: 'no venv', found: 'Python 3.11.2', debian: 'python3-venv' },
    ])
    expect(message).toContain('apt-get install python3-dev python3-venv g++\n')
    expect(message).toContain('dnf install python3-devel gcc-c++')
    expect(message).toContain('no C++ compiler\n    found: none of g++')
  })

  it.each(['v18.20.4', 'v16.0.0'])('includes a Node that is too old: %s', (version) => {
    expect(nodeFault(version)?.found).toContain(version)
  })

  it.each(['v20.0.0', 'v22.11.0'])('does not include Node %s', (version) => {
    expect(nodeFault(version)).toBeNull()
  })
})
