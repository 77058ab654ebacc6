import { spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { filesIn, fillStore, openStore, putSample } from '../support/filled-store.ts'
import { checkHandlesAfterEach } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'

checkHandlesAfterEach()
let root: string
beforeEach(async () => {
  root = path.join(await tempDir(), 'store')
})

async function storedBytes(): Promise<number> {
  const infos = await Promise.all((await filesIn(root, 'objects')).map((file) => stat(path.join(root, file))))
  return infos.reduce((sum, { size }) => sum + size, 0)
}

/** What one sample takes up. */
async function oneSample(): Promise<number> {
  const other = path.join(root, '../other')
  await fillStore(other, { run: 1 })
  await using store = await openStore(other)
  return (await store.usage()).bytes
}

function producer(quota: number, name: string) {
  const program = fileURLToPath(new URL('../support/put-until-refused.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', program, root, String(quota), name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { line: async () => String((await lines.next()).value), go: () => child.stdin.write('go\n'), child }
}

describe('a quota', () => {
  it('is never exceeded by two processes that put at once', async () => {
    const quota = 12 * (await oneSample())
    const two = [producer(quota, 'a'), producer(quota, 'b')]
    for (const one of two) expect(await one.line()).toBe('ready')
    for (const one of two) one.go()
    const counts = await Promise.all(two.map(async (one) => Number(await one.line())))
    const put = counts.reduce((sum, count) => sum + count, 0)
    const bytes = await storedBytes()
    expect(bytes).toBeLessThanOrEqual(quota)
    // A put reserves a little more than it needs, so the last ones may not fit.
    expect(put).toBeGreaterThanOrEqual(9)
    await using store = await openStore(root, quota)
    expect(await store.usage()).toEqual({ bytes, quota })
  }, 120_000)

  it('gets back what a killed producer had reserved', async () => {
    const size = await oneSample()
    const dead = producer(40 * size, 'a')
    expect(await dead.line()).toBe('ready')
    dead.go()
    while ((await filesIn(root, 'objects')).length < 3) await new Promise((resolve) => setImmediate(resolve))
    dead.child.kill('SIGKILL')
    await new Promise((resolve) => dead.child.once('close', resolve))
    const left = (await filesIn(root, 'objects')).length
    await using store = await openStore(root, (left + 4) * size)
    for (let index = 0; index < 2; index += 1) await putSample(store, `b:${index}`)
    await expect(putAll(store, 4)).rejects.toMatchObject({ code: 'STORE_OVER_BUDGET' })
    expect((await store.usage()).bytes).toBe(await storedBytes())
    const books = JSON.parse(await readFile(path.join(root, 'notes/space/usage'), 'utf8'))
    expect(books.reserved).toEqual({})
  }, 120_000)

  it('has room again after an abort, a re-put and a quarantine', async () => {
    const size = await oneSample()
    await using store = await openStore(root, 4 * size + 8192)
    const refs = [await putSample(store, 'run:0'), await putSample(store, 'run:1'), await putSample(store, 'run:2')]
    await store.abort(refs[0]?.sampleId as never)
    await putSample(store, 'run:1', 'run', 5)
    if (refs[2] !== undefined) await store.quarantine(refs[2], 'a test')
    expect(await store.usage()).toMatchObject({ bytes: await storedBytes() })
    expect(await storedBytes()).toBe(size)
  }, 120_000)
})

async function putAll(store: Awaited<ReturnType<typeof openStore>>, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await putSample(store, `c:${index}`)
}
