import { describe, expect, it } from 'vitest'
import { chooseRole } from '../../src/roles/run.ts'

describe('chooseRole', () => {
  it('takes the flag, else DISAGG_ROLE, else the node rank', () => {
    const env = { DISAGG_ROLE: 'consumer', RCLI_NODE_RANK: '0' }
    expect(chooseRole('colocated', env)).toBe('colocated')
    expect(chooseRole(undefined, env)).toBe('consumer')
    expect(chooseRole(undefined, { RCLI_NODE_RANK: '0' })).toBe('producer')
    expect(chooseRole(undefined, { RCLI_NODE_RANK: '3' })).toBe('consumer')
  })

  it('fails when no role is set, and suggests a role for a mistyped one', () => {
    expect(() => chooseRole(undefined, {})).toThrow('the role of this process is not set')
    expect(() => chooseRole(undefined, { RCLI_NODE_RANK: 'x' })).toThrow('RCLI_NODE_RANK=x')
    expect(() => chooseRole(undefined, { DISAGG_ROLE: 'produser' })).toThrow('did you mean producer?')
    expect(() => chooseRole('boss', {})).toThrow('one of producer | consumer | colocated')
  })
})
