import path from 'node:path'
import { z } from 'zod'
import { type Lane, ops } from '../../src/bridge/ops.ts'
import { python } from './tensors.ts'

const value = z.unknown()
const run = {
  input: z.object({ seconds: z.number() }),
  output: z.object({ thread: value, begin: z.number(), end: z.number() }),
}
const probes = {
  'probe.run.io': { lane: 'io', ...run },
  'probe.run.engine': { lane: 'engine', ...run },
  'probe.run.bulk': { lane: 'bulk', ...run },
  'probe.echo': { lane: 'io', input: z.object({ value }), output: z.object({ value, repr: z.string() }) },
  'probe.make': { lane: 'io', input: z.object({ which: z.string() }), output: z.object({ value: z.number() }) },
  'probe.raise': { lane: 'engine', input: z.object({ code: z.string().nullable() }), output: z.object({}) },
} satisfies Record<string, { lane: Lane; input: z.ZodType; output: z.ZodType }>
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
  const call = python.call as (op: string, input: unknown) => Promise<unknown>
  return <K extends keyof Probes>(op: K, input: z.input<Probes[K]['input']>) =>
    call(op, input) as Promise<z.output<Probes[K]['output']>>
}
