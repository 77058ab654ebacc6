import { expect, it } from 'vitest'
import { openEnvelope } from '../../src/bridge/envelope.ts'

const failure = { ok: false, code: null, type: 'ValueError', message: 'no', details: {}, traceback: 'Traceback …' }
const open = (reply: object) => () => openEnvelope('some.op', JSON.stringify(reply))

it('gives the value of a good reply, absence included', () => {
  expect(openEnvelope('some.op', '{"ok":true,"value":{"a":1},"seconds":0.5}').value).toEqual({ a: 1 })
  expect(openEnvelope('some.op', '{"ok":true,"value":null,"seconds":0.5}').value).toBeNull()
})

it('turns a failure into the coded error that it stands for', () => {
  expect(open(failure)).toThrow(expect.objectContaining({ code: 'PYTHON_RAISED', message: 'some.op: ValueError: no' }))
  expect(open({ ...failure, code: 'STORE_FULL', details: { file: '/x' } })).toThrow(
    expect.objectContaining({ code: 'STORE_FULL', message: 'no', details: { file: '/x' } }),
  )
  for (const type of ['OutOfMemoryError', 'MemoryError'])
    expect(open({ ...failure, type })).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }))
})

it('does not take a reply of another form for a value', () => {
  for (const reply of [
    {},
    { ok: true },
    { ok: 'yes', value: 1 },
    { ...failure, extra: 1 },
    { ...failure, code: 'NO_SUCH_CODE' },
    { ok: false },
  ]) {
    expect(open(reply)).toThrow()
  }
})
