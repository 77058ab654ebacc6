import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { DirectoryNotes } from '../../src/store/coordination/directory/directory-notes.ts'
import { FakePeers, memberIn, objectsInFolder } from '../support/fake-space.ts'
import { tempDir } from '../support/temp-dir.ts'

const program = fileURLToPath(new URL('../support/put-until-full.ts', import.meta.url))

/** What a process says, line by line. */
function putter(root: string, quota: number | null, bytes: number) {
  const args = ['--import', 'tsx', program, root, quota === null ? '' : String(quota), String(bytes)]
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]()
  return { line: async () => (await lines.next()).value as string, go: () => child.stdin?.write('go\n') }
}

async function newRoot() {
  const root = await tempDir()
  for (const name of ['staging', 'notes']) await mkdir(path.join(root, name))
  const notes = new DirectoryNotes(path.join(root, 'notes'), path.join(root, 'staging'))
  return { root, world: { notes, objects: objectsInFolder(path.join(root, 'objects')), peers: new FakePeers() } }
}

it('lets two processes with three clients each fill a store to its quota, and not above', async () => {
  const { root, world } = await newRoot()
  const two = [putter(root, 5050, 100), putter(root, 5050, 100)]
  for (const one of two) expect(await one.line()).toBe('ready')
  for (const one of two) one.go()
  const put = await Promise.all(two.map((one) => one.line().then(Number)))
  expect(put.reduce((sum, count) => sum + count, 0)).toBe(50)
  expect(await world.objects.count()).toBe(5000)
  const { book } = await memberIn(world, null)
  expect(await book.usage()).toEqual({ bytes: 5000, quota: 5050 })
}, 120_000)

it('counts what a process without a quota puts while another begins the accounting', async () => {
  const { root, world } = await newRoot()
  const free = putter(root, null, 10)
  expect(await free.line()).toBe('ready')
  free.go()
  const { book } = await memberIn(world, 100_000)
  expect(await free.line()).toBe('120')
  expect((await book.usage()).bytes).toBeGreaterThanOrEqual(1200)
  await book.recount()
  expect((await book.usage()).bytes).toBe(1200)
}, 120_000)
