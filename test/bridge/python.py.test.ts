import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { ops } from '../../src/bridge/ops.ts'
import { embedPython } from '../../src/bridge/python.ts'
import { errorCodes } from '../../src/core/errors.ts'
import { dtypeBytes, FEATURE_NAME } from '../../src/core/feature-spec.ts'
import { MAX_HEADER } from '../../src/store/blobs/directory/object-label.ts'
import { installProbes, listPythonOps } from '../support/probe-ops.ts'
import {
  checkHandlesAfterEach,
  digestsOf,
  expectNoHandles,
  python,
  sampleSpecs,
  synthesize,
} from '../support/python.ts'

checkHandlesAfterEach()
const lanesOf = (table: object) => Object.fromEntries(Object.entries(table).map(([name, { lane }]) => [name, lane]))
const ours = lanesOf(ops)
const theirs = await listPythonOps()

it('has the same ops on the same lanes on both sides', () => {
  expect(theirs).toEqual(ours)
})

it('embeds one interpreter, whoever asks', async () => {
  expect(await embedPython()).toBe(python)
  const info = await python.call('host.info', {})
  expect(info.executable).toContain('.venv')
  expect(info.torch).toMatch(/^2\./)
})

describe('a call', () => {
  let call: Awaited<ReturnType<typeof installProbes>>
  beforeAll(async () => {
    call = await installProbes()
  })

  it('brings text outside ASCII over whole, in both directions', async () => {
    const value = 'ä 漢字 😀abc 👩‍👩‍👧 \u0000 "quoted" \\ \n end'
    expect(await call('probe.echo', { value })).toMatchObject({ value })
  })

  it('brings numbers over exactly, and a float that is whole stays a number', async () => {
    const value = [0.1, 1e-300, 5e-324, 1.7976931348623157e308, 2 ** 53, -2.5, 1 / 3]
    expect(await call('probe.echo', { value })).toEqual({
      value,
      repr: '[0.1, 1e-300, 5e-324, 1.7976931348623157e+308, 9007199254740992, -2.5, 0.3333333333333333]',
    })
    expect(await call('probe.make', { which: 'one' })).toEqual({ value: 1 })
    expect(await call('probe.make', { which: 'third' })).toEqual({ value: 1 / 3 })
  })

  it('refuses to send NaN as a number', async () => {
    await expect(call('probe.make', { which: 'nan' })).rejects.toMatchObject({ code: 'PYTHON_RAISED' })
  })

  it('that raises arrives with its type, its message and the traceback', async () => {
    await expect(call('probe.raise', { code: null })).rejects.toMatchObject({
      code: 'PYTHON_RAISED',
      exitCode: 70,
      message: 'probe.raise: RuntimeError: bad 😀 news',
      details: {
        op: 'probe.raise',
        type: 'RuntimeError',
        traceback: expect.stringMatching(/probe_ops\.py", line \d+/),
      },
    })
  })

  it('that raises a coded error arrives as that error, with what lies below as its cause', async () => {
    await expect(call('probe.raise', { code: 'SAMPLE_CORRUPT' })).rejects.toMatchObject({
      code: 'SAMPLE_CORRUPT',
      exitCode: 65,
      message: 'a sample\n  file:  /tmp/😀\n  found: x\n  fix:   y',
      details: { file: '/tmp/😀', found: 'x', fix: 'y' },
      cause: { message: expect.stringContaining('OSError: what lies below') },
    })
  })

  it('that runs out of memory has a code of its own', async () => {
    await expect(call('probe.raise', { code: 'MemoryError' })).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
  })

  it('can raise the codes of the table, and no other one is defined in Python', async () => {
    const { codes } = await call('probe.codes', {})
    expect(codes.toSorted()).toEqual(errorCodes.toSorted())
  })

  it('finds the same dtypes, feature names and header limit in both languages', async () => {
    const { dtypeBytes: dtypes, featureName, maxHeader } = await call('probe.constants', {})
    expect(dtypes).toEqual(dtypeBytes)
    expect(`^${featureName}$`).toBe(FEATURE_NAME.source)
    expect(maxHeader).toBe(MAX_HEADER)
  })

  it('cannot raise a code that is not in the table', async () => {
    await expect(call('probe.raise', { code: 'NO_SUCH_CODE' })).rejects.toMatchObject({
      code: 'PYTHON_RAISED',
      message: expect.stringContaining('ValueError: NO_SUCH_CODE is not in the table of error codes'),
    })
  })

  it('runs on its lane: one thread each, one call at a time, in order, and the lanes side by side', async () => {
    const io = [1, 2, 3].map(() => call('probe.run.io', { seconds: 0.4 }))
    const engine = [1, 2, 3].map(() => call('probe.run.engine', { seconds: 0.4 }))
    const [onIo, onEngine] = await Promise.all([Promise.all(io), Promise.all(engine)])
    for (const lane of [onIo, onEngine]) {
      expect(new Set(lane.map((each) => each.thread)).size).toBe(1)
      for (const [index, each] of lane.slice(1).entries()) {
        expect(each.begin).toBeGreaterThanOrEqual(lane[index]?.end ?? Number.NaN)
      }
    }
    expect(onIo[0]?.thread).not.toBe(onEngine[0]?.thread)
    expect(onEngine[0]?.begin).toBeLessThan(onIo[0]?.end ?? 0)
  })

  it('on the bulk lane runs beside one other, and a third waits', async () => {
    const [first, second, third] = await Promise.all([0.4, 1, 0].map((seconds) => call('probe.run.bulk', { seconds })))
    expect(first?.thread).not.toBe(second?.thread)
    expect(second?.begin).toBeLessThan(first?.end ?? 0)
    expect(third?.begin).toBeGreaterThanOrEqual(first?.end ?? Number.NaN)
  })

  it('leaves files and timers their turn while both lanes are busy and calls wait', async () => {
    let ended = 0
    const busy = [2, 0].flatMap((seconds) =>
      [call('probe.run.io', { seconds }), call('probe.run.engine', { seconds })].map(async (each) => {
        await each
        ended += 1
      }),
    )
    await readFile('package.json')
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(ended).toBe(0)
    await Promise.all(busy)
  })

  it('that was refused for its input does not stop the lane', async () => {
    await expect(call('probe.run.io', { seconds: 'x' as unknown as number })).rejects.toThrow('expected number')
    await expect(call('probe.run.io', { seconds: 0 })).resolves.toBeDefined()
  })
})

describe('an object in Python', () => {
  const specs = sampleSpecs(4)

  it('lives until it is disposed, and disposing it again does nothing', async () => {
    const set = await synthesize(1, specs)
    expect(set.features).toEqual(specs)
    expect(await python.call('host.live', {})).toEqual({ handles: 1 })
    await set[Symbol.asyncDispose]()
    await set[Symbol.asyncDispose]()
    await expectNoHandles()
    expect(() => set.handle).toThrow('TensorSet used after dispose')
  })

  it('is freed by `await using`, also when the block throws', async () => {
    await expect(
      (async () => {
        await using set = await synthesize(1, specs)
        throw new Error(`with handle ${set.handle}`)
      })(),
    ).rejects.toThrow('with handle')
  })

  it('that is not there, or is there no more, is an error and nothing else', async () => {
    const error = { code: 'PYTHON_RAISED', details: { type: 'KeyError' } }
    await expect(python.call('tensor.digest', { handle: 987_654 })).rejects.toMatchObject(error)
    await expect(python.call('handle.free', { handle: 987_654 })).rejects.toMatchObject(error)
  })

  it('has the same digests for the same seed, and others for another', async () => {
    await using first = await synthesize(1, specs)
    await using again = await synthesize(1, specs)
    await using other = await synthesize(2, specs)
    expect(await digestsOf(again)).toEqual(await digestsOf(first))
    expect(await digestsOf(other)).not.toEqual(await digestsOf(first))
  })
})

it('says what to do when the virtual environment is not there or not its own', async () => {
  const program = `
    import { embedPython } from './src/bridge/python.ts'
    await embedPython().catch((error) => console.log(JSON.stringify({ code: error.code, message: error.message })))`
  const env = { ...process.env, DRAFTBRIDGE_VENV: '/nonexistent/venv' }
  const args = ['--import', 'tsx', '--input-type=module', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { env })
  const { code, message } = JSON.parse(stdout)
  expect(code).toBe('PYTHON_UNAVAILABLE')
  expect(message).toContain('/nonexistent/venv has no packages for Python 3')
  expect(message).toContain('npm run setup')
})

it('starts in a program that has options of its own, and leaves them as they are', async () => {
  const url = new URL('../../src/bridge/python.ts', import.meta.url).href
  const program = `import(${JSON.stringify(url)}).then(async ({ embedPython }) => {
    const { torch } = await (await embedPython()).call('host.info', {})
    console.log(JSON.stringify([typeof torch, ...process.argv.slice(1)]))
  })`
  const options = ['--dir', 'elsewhere', '-C', 'elsewhere', '--loglevel=silent']
  const args = ['--import', 'tsx', '--eval', program, '--', ...options]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  expect(JSON.parse(stdout)).toEqual(['string', ...options])
})
