import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { claimFolder } from '../../../src/core/liveness/folder-claim.ts'
import { ManifestWriter, readManifestRoot, readRefManifest, recordFailure } from '../../../src/refs/manifest.ts'
import { work } from '../../support/manifests.ts'
import { exampleRef } from '../../support/refs.ts'

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'stalled-producer.ts')
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A producer in a process of its own that has published the first ref. */
async function producer(dir: string) {
  const child = spawn(process.execPath, ['--import', 'tsx', program, dir], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<string> => (await lines.next()).value as string
  expect(await next()).toBe('published')
  const tell = async (line: string): Promise<string> => {
    child.stdin.write(`${line}\n`)
    return next()
  }
  return { child, tell }
}

/** Every file of the manifest by its content. */
async function contents(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
  const read = async (file: string) => [path.relative(dir, file), await readFile(file, 'utf8')] as const
  return Object.fromEntries(await Promise.all(files.sort().map(read)))
}

describe('a producer that was stopped and replaced', () => {
  it.each(['append', 'heartbeat', 'withdraw', 'complete'])('wakes up and can not %s', async (what) => {
    const given = await work()
    const { child, tell } = await producer(given.dir)
    child.kill('SIGSTOP')
    const second = await ManifestWriter.open(given)
    expect([...second.published.keys()]).toEqual(['run:00000000'])
    second.append(exampleRef(2))
    await second.complete([[1, 1]])
    const before = await contents(given.dir)
    child.kill('SIGCONT')
    expect(await tell(what)).toBe('STORE_BUSY another producer has taken over')
    expect(await tell('end')).toBe('closed')
    expect(await contents(given.dir)).toEqual(before)
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual([exampleRef(0), exampleRef(2)])
  })

  it('works on while nobody replaces it', async () => {
    const given = await work()
    const { child, tell } = await producer(given.dir)
    child.kill('SIGSTOP')
    child.kill('SIGCONT')
    expect(await tell('append')).toBe('done')
    expect(await tell('complete')).toBe('done')
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual([exampleRef(0), exampleRef(1)])
  })
})

describe('what a dead producer leaves', () => {
  it('is cleaned by the next one', async () => {
    const given = await work()
    const { child } = await producer(given.dir)
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
    await mkdir(path.join(given.dir, '.fenced-earlier'))
    await writeFile(path.join(given.dir, '.fenced-earlier', 'segment-000009.ndjson'), 'left')
    const writer = await ManifestWriter.open(given)
    writer.append(exampleRef(1))
    await writer.complete([])
    expect((await readdir(given.dir)).filter((name) => name.startsWith('.'))).toEqual([])
    expect([...(await readRefManifest({ dir: given.dir })).refs]).toEqual([exampleRef(0), exampleRef(1)])
  })

  it('says so when the whole folder is removed under a producer', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    const { rm } = await import('node:fs/promises')
    await rm(given.dir, { recursive: true })
    await expect(writer.flush()).rejects.toThrow('the manifest folder is gone')
  })
})

describe('a failure that is recorded', () => {
  it('is not written into a manifest that another producer works on', async () => {
    const given = await work()
    const writer = await ManifestWriter.open(given)
    await using _claim = await claimFolder(given.dir, 'produce')
    await recordFailure({ ...given, code: 'OUT_OF_MEMORY' })
    expect((await readManifestRoot(given.dir))?.root.state).toBe('open')
    await writer.complete([])
  })
})
