import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { tempDir } from '../support/temp-dir.ts'

const run = promisify(execFile)

/** 1 put that builds the index, then 50 puts and gets, in a process of its own, under strace. */
async function traced(root: string, args: readonly string[]): Promise<string> {
  const log = path.join(path.dirname(root), 'strace.log')
  const program = path.resolve('test/support/put-and-get.ts')
  const child = [process.execPath, '--import', 'tsx', program, root, '50']
  await run('strace', ['-f', '-y', '-qq', '-s', '0', '-o', log, ...args, ...child])
  return readFile(log, 'utf8')
}

it('lists no directory of objects in 50 puts and gets', async () => {
  const root = path.join(await tempDir(), 'store')
  const log = await traced(root, ['-e', 'trace=getdents64,getdents,linkat,link'])
  const listed = [...log.matchAll(/getdents(?:64)?\(\d+<(?<dir>[^>]*)>/g)].map((match) => match.groups?.['dir'] ?? '')
  const inStore = listed.filter((dir) => dir.startsWith(root)).map((dir) => path.relative(root, dir))
  // Each listing is two calls, the second of which finds nothing more: `objects` once, when the index is built.
  expect(inStore.filter((dir) => dir === 'objects').length).toBeLessThanOrEqual(2)
  expect(inStore.filter((dir) => dir.startsWith('objects/'))).toEqual([])
  // The trace saw the puts themselves, so what it did not see did not happen.
  expect(
    [...log.matchAll(/linkat\([^\n]*\.safetensors[^\n]*= 0/g)].length + count(log, /link\(/g),
  ).toBeGreaterThanOrEqual(50)
})

it('a file system without hard links is refused when the store is opened, and says so', async () => {
  const root = path.join(await tempDir(), 'store')
  const inject = ['-e', 'trace=link,linkat', '-e', 'inject=link,linkat:error=EPERM']
  const failed = await traced(root, inject).catch((error: unknown) => error)
  expect(String((failed as { stderr?: string }).stderr)).toMatch(/STORE_UNAVAILABLE.*hard links/s)
})

const count = (text: string, pattern: RegExp): number => [...text.matchAll(pattern)].length
