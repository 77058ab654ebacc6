import path from 'node:path'
import { z } from 'zod'
import { type Lane, op } from '../../src/bridge/op.ts'
import { ops } from '../../src/bridge/ops.ts'
import { python } from './tensors.ts'

const value = z.unknown()
const run = (lane: Lane) =>
  op(lane, z.object({ seconds: z.number() }), z.object({ thread: value, begin: z.number(), end: z.number() }))
const probes = {
  'probe.run.io': run('io'),
  'probe.run.engine': run('engine'),
  'probe.run.bulk': run('bulk'),
  'probe.echo': op('io', z.object({ value }), z.object({ value, repr: z.string() })),
  'probe.make': op('io', z.object({ which: z.string() }), z.object({ value: z.number() })),
  'probe.codes': op('io', z.object({}), z.object({ codes: z.array(z.string()) })),
  'probe.constants': op(
    'io',
    z.object({}),
    z.object({ dtypeBytes: z.record(z.string(), z.number()), featureName: z.string(), maxHeader: z.number() }),
  ),
  'probe.raise': op('engine', z.object({ code: z.string().nullable() }), z.object({})),
}
type Probes = typeof probes

/** The op table that Python has, by name, as it stands before the probes are in it. */
export async function listPythonOps(): Promise<unknown> {
  const { pymport } = await import('pymport')
  return JSON.parse(String((await pymport('draftbridge.host').get('list_ops').callAsync()).toJS()))
}

/** Adds the probes to both op tables of this process. What it returns calls them through the real bridge. */
export async function installProbes() {
  const { pymport } = await import('pymport')
  await pymport('site').get('addsitedir').callAsync(path.resolve('test/support'))
  pymport('probe_ops')
  Object.assign(ops, probes)
  const call = python.call as (name: string, input: unknown) => Promise<unknown>
  return <K extends keyof Probes>(name: K, input: z.input<Probes[K]['input']>) =>
    call(name, input) as Promise<z.output<Probes[K]['output']>>
}
