import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { CodedError } from '../../../src/core/errors.ts'
import { greetHead } from '../../../src/launch/nodes/handshake.ts'
import { type HeadOptions, JobHead } from '../../../src/launch/nodes/job-head.ts'
import { type JobMember, type JoinOptions, joinJob, tellHead } from '../../../src/launch/nodes/job-member.ts'
import { JobNote, type JobPlan } from '../../../src/launch/nodes/job-message.ts'
import { JOB_NOTE } from '../../../src/launch/nodes/job-note.ts'
import { LineSocket } from '../../../src/launch/nodes/line-socket.ts'
import { tempDir } from '../../support/temp-dir.ts'

const SETTINGS = { 'run.seed': '0', 'train.epochs': '2' }
const never = new AbortController().signal

const headIn = async (dir: string, more: Partial<HeadOptions> = {}): Promise<JobHead> => {
  const head = await JobHead.open({
    dir,
    host: 'first',
    nodes: 2,
    addresses: ['127.0.0.1'],
    settings: SETTINGS,
    timeoutSeconds: 20,
    signal: never,
    ...more,
  })
  onTestFinished(() => head[Symbol.asyncDispose]())
  return head
}

const joining = (dir: string, more: Partial<JoinOptions> = {}): Promise<JobMember> => {
  const own = { dir, node: 1, host: 'second', ranks: 2, settings: SETTINGS, timeoutSeconds: 20, signal: never }
  return joinJob({ ...own, ...more })
}

const plan = (firstRank: number): JobPlan => ({
  firstRank,
  worldSize: 3,
  masterAddr: '127.0.0.1',
  masterPort: 29_500,
  resumeFrom: 7,
})

const codeOf = (error: unknown) => (error instanceof CodedError ? error.code : String(error))
const failing = (work: Promise<unknown>): Promise<{ code: string; text: string }> =>
  work.then(
    () => ({ code: 'none', text: '' }),
    (error: unknown) => ({ code: codeOf(error), text: String(error) }),
  )

/** A member that joins and then does only what the test says. */
async function silentMember(dir: string): Promise<LineSocket> {
  const { port, token } = JobNote.parse(JSON.parse(await readFile(path.join(dir, JOB_NOTE), 'utf8')))
  const line = new LineSocket(connect({ host: '127.0.0.1', port }))
  expect(await greetHead(line, token, 1)).toBe(true)
  const hello = { type: 'hello', host: 'quiet', ranks: 1, settings: SETTINGS, reached: [] }
  line.send(JSON.stringify(hello))
  onTestFinished(() => line.close())
  return line
}

async function running(more: Partial<HeadOptions> = {}): Promise<{ head: JobHead; member: JobMember }> {
  const dir = await tempDir()
  const head = await headIn(dir, more)
  const joined = joining(dir)
  await head.meet()
  head.start([plan(1)])
  return { head, member: await joined }
}

it('a node that comes first, and one that comes later, meet; each gets its plan', async () => {
  const dir = await tempDir()
  const early = joining(dir)
  await sleep(100)
  const head = await headIn(dir, { nodes: 3 })
  const late = joining(dir, { node: 2, host: 'third', ranks: 1 })
  const hellos = await head.meet()
  expect(hellos.map(({ host, ranks }) => `${host} ${ranks}`)).toEqual(['second 2', 'third 1'])
  expect(hellos[0]?.reached).toEqual([{ address: '127.0.0.1', interface: 'lo' }])
  head.start([plan(1), plan(3)])
  expect([(await early).plan, (await late).plan]).toEqual([plan(1), plan(3)])
  expect((await early).interface).toBe('lo')
})

it('all end well only when all have ended well; events of a member come to the first node', async () => {
  const events: unknown[] = []
  const { head, member } = await running({ onEvent: (body) => events.push(body) })
  member.event({ event: 'sample.corrupt' })
  const order: string[] = []
  const headDone = head.settled().then(() => order.push('head'))
  await sleep(50)
  expect(order).toEqual([])
  await Promise.all([headDone, member.settled().then(() => order.push('member'))])
  expect(order.sort()).toEqual(['head', 'member'])
  expect(events).toEqual([{ event: 'sample.corrupt' }])
})

it('nobody joins without the token of the note', async () => {
  const dir = await tempDir()
  const head = await headIn(dir, { timeoutSeconds: 1.5 })
  const file = path.join(dir, JOB_NOTE)
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), token: 'ab'.repeat(32) }))
  const stranger = failing(joining(dir, { timeoutSeconds: 1 }))
  expect((await failing(head.meet())).text).toContain('training node 1 (of 0 to 1) missing after 1.5 s')
  expect(await stranger).toMatchObject({ code: 'PEER_TIMEOUT' })
  expect((await stranger).text).toContain('its last start was on first, and nothing of it answers at 127.0.0.1')
})

it('a damaged note, and the note of a node that is gone, are waited over', async () => {
  const dir = await tempDir()
  await writeFile(path.join(dir, JOB_NOTE), '{"v":1,')
  const waiting: string[] = []
  const joined = joining(dir, { onWaiting: (why) => waiting.push(why) })
  await sleep(700)
  const gone = await headIn(dir)
  await gone[Symbol.asyncDispose]()
  await sleep(700)
  const head = await headIn(dir)
  await head.meet()
  head.start([plan(1)])
  expect((await joined).plan).toEqual(plan(1))
  expect(waiting[0]).toBe('training node 0, the first one, has not begun')
})

it('a node with other settings is named on all nodes, with the field', async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  const member = failing(joining(dir, { settings: { ...SETTINGS, 'train.epochs': '3' } }))
  const error = await head.meet().catch((thrown: unknown) => head.failed(thrown))
  expect(codeOf(error)).toBe('CONFIG_INVALID')
  expect(String(error)).toContain('training node 1 (second) has other settings than training node 0')
  expect(String(error)).toContain('field: train.epochs\n  found: 3; 2 on training node 0')
  expect(await member).toMatchObject({ code: 'CONFIG_INVALID' })
  expect((await member).text).toContain('train.epochs')
})

it('two processes for one node: the second one is told who is there', async () => {
  const { head } = await running()
  void head
  const dir = await tempDir()
  const other = await headIn(dir)
  await silentMember(dir)
  await sleep(100)
  const second = await failing(joining(dir, { timeoutSeconds: 1 }))
  expect(second.text).toContain('node 1 (quiet) is there already')
  const outside = await failing(joining(dir, { node: 2, timeoutSeconds: 1 }))
  expect(outside.text).toContain('2 nodes train, and this is to be number 2 of them')
  expect(await other.meet()).toHaveLength(1)
})

it('a node that goes before the start may come again', async () => {
  const dir = await tempDir()
  const head = await headIn(dir, { nodes: 3 })
  const line = await silentMember(dir)
  await sleep(100)
  line.close()
  const again = joining(dir)
  const third = joining(dir, { node: 2, host: 'third' })
  expect((await head.meet()).map(({ host }) => host)).toEqual(['second', 'third'])
  head.start([plan(1), plan(3)])
  expect([(await again).plan, (await third).plan]).toHaveLength(2)
})

it('a member whose process ends is named at once', async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  const line = await silentMember(dir)
  await head.meet()
  head.start([plan(1)])
  const begun = performance.now()
  line.close()
  await new Promise((resolve) => head.broken.addEventListener('abort', resolve))
  expect(performance.now() - begun).toBeLessThan(1000)
  expect(codeOf(head.broken.reason)).toBe('PEER_FAILED')
  expect(String(head.broken.reason)).toContain('training node 1 (quiet) has failed')
})

it('a member that is silent is named within 10 s, and its connection stays open until then', {
  timeout: 20_000,
}, async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  await silentMember(dir)
  await head.meet()
  head.start([plan(1)])
  const begun = performance.now()
  await new Promise((resolve) => head.broken.addEventListener('abort', resolve))
  expect((performance.now() - begun) / 1000).toBeGreaterThan(5)
  expect((performance.now() - begun) / 1000).toBeLessThan(10)
  expect(String(head.broken.reason)).toContain('nothing was heard of it for 6 s')
})

it('a first node that ends is named by the members', async () => {
  const { head, member } = await running()
  await head[Symbol.asyncDispose]()
  const error = await failing(member.settled())
  expect(error).toMatchObject({ code: 'PEER_FAILED' })
  expect(error.text).toContain('node 0')
})

it('the failure of one node ends all others with its reason, and itself with its own', async () => {
  const { head, member } = await running()
  const died = new CodedError('RANK_DIED', 'rank 2 was killed by SIGKILL', { rank: 2 })
  expect(await member.failed(died)).toBe(died)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(codeOf(head.broken.reason)).toBe('PEER_FAILED')
  expect(String(head.broken.reason)).toContain('RANK_DIED: rank 2 was killed by SIGKILL')
})

it('of two failures the cause is told, not its effect on another node', async () => {
  const { head, member } = await running()
  const raised = new CodedError('PYTHON_RAISED', 'Connection closed by peer', { op: 'x', type: 'x', traceback: 'x' })
  const onHead = head.failed(raised)
  await sleep(100)
  const full = new CodedError('STORE_FULL', 'no space', {})
  expect(await member.failed(full)).toBe(full)
  expect(codeOf(await onHead)).toBe('PEER_FAILED')
  expect(String(await onHead)).toContain('STORE_FULL: no space')
})

it('an effect without a cause is told in the end', { timeout: 15_000 }, async () => {
  const { head, member } = await running()
  const raised = new CodedError('PYTHON_RAISED', 'a bug', { op: 'x', type: 'x', traceback: 'x' })
  expect(await head.failed(raised)).toBe(raised)
  expect(String(await failing(member.settled()).then(({ text }) => text))).toContain('PYTHON_RAISED: a bug')
})

it('a node that is stopped while it waits stops the others, which do not count it as a failure', async () => {
  const dir = await tempDir()
  const head = await headIn(dir, { nodes: 3 })
  const stop = new AbortController()
  const member = failing(joining(dir, { signal: stop.signal }))
  await sleep(300)
  stop.abort('SIGTERM')
  expect(await member).toMatchObject({ code: 'INTERRUPTED' })
  expect(await failing(head.meet())).toMatchObject({ code: 'INTERRUPTED' })
})

it('a member that goes between meeting and start ends the job, and nobody takes its place', async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  const line = await silentMember(dir)
  await head.meet()
  line.close()
  await new Promise((resolve) => head.broken.addEventListener('abort', resolve))
  expect(() => head.start([plan(1)])).toThrow('training node 1 (quiet) has failed')
  const late = await failing(joining(dir, { timeoutSeconds: 1, settings: { other: 'settings' } }))
  expect(late).toMatchObject({ code: 'PEER_TIMEOUT' })
})

it('a node that cannot join tells the one that waits for it', async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  const meeting = failing(head.meet())
  await tellHead({ dir, node: 1, host: 'second' }, new CodedError('CONFIG_INVALID', 'no such draft config', {}))
  expect(await meeting).toMatchObject({ code: 'CONFIG_INVALID' })
  expect((await meeting).text).toContain('node 1 (second): no such draft config')
})

it('an event that the first node cannot write is its own failure, told to all', async () => {
  const full = new CodedError('STORE_FULL', 'no space for events', {})
  const refuse = () => {
    throw full
  }
  const { head, member } = await running({ onEvent: refuse })
  member.event({ event: 'sample.corrupt' })
  expect(await head.settled().catch((error: unknown) => head.failed(error))).toBe(full)
  expect((await failing(member.settled())).text).toContain('STORE_FULL: no space for events')
})

it('a stop that comes while a node connects is not lost', async () => {
  const dir = await tempDir()
  // Nothing answers at the second address.
  await headIn(dir, { addresses: ['127.0.0.1', '192.0.2.77'] })
  const stop = new AbortController()
  const member = failing(joining(dir, { signal: stop.signal }))
  await sleep(500)
  stop.abort('SIGTERM')
  expect(await member).toMatchObject({ code: 'INTERRUPTED' })
})
