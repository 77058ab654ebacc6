import { randomUUID } from 'node:crypto'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { RunConfig } from '../../config/schema.ts'
import { traitsOf } from '../../config/store-kinds.ts'
import { tryFileSystem } from '../../store/file-system.ts'
import { type Check, checked } from './doctor-check.ts'

const SLOW_MS = 2000
const CLOCK_MS = 5000

/** The folder of the store, and whether its file system does what a store stands on. Leaves nothing behind. */
export async function checkStore(config: RunConfig['store']): Promise<readonly Check[]> {
  const { kind, root } = config
  if (!traitsOf(config).directory) {
    return [{ id: 'store', state: 'ok', reason: `${kind}: each process keeps its features in its own memory` }]
  }
  const probe = path.join(root, `.doctor-${randomUUID()}`)
  let made: string | undefined
  try {
    made = await mkdir(root, { recursive: true })
    await mkdir(probe, { mode: 0o700 })
    return [{ id: 'store', state: 'ok', reason: `${root} is writable` }, await fileSystem(probe)]
  } catch (error) {
    const reason = `${root} is not writable: ${error instanceof Error ? error.message : String(error)}`
    const fix = 'set store.root to a folder that the producer and the consumer can both write'
    return [{ id: 'store', state: 'error', reason, fix }]
  } finally {
    // A folder that stays would be taken for a store by a later command.
    for (const dir of [made, probe]) if (dir !== undefined) await rm(dir, { recursive: true, force: true })
  }
}

async function fileSystem(dir: string): Promise<Check> {
  const about = { id: 'store.filesystem', fix: 'put the store on another file system: docs/file-systems.md' }
  const started = performance.now()
  const tried = await checked(about, async () => {
    const mount = await tryFileSystem(dir)
    const name = mount === null ? 'this file system' : `${mount.type} (${mount.source})`
    return `${name} does what a store needs, also between two processes`
  })
  if (tried.state !== 'ok') return tried
  const odd = await oddities(dir, performance.now() - started)
  if (odd.length === 0) return tried
  return {
    ...tried,
    state: 'warning',
    reason: `${tried.reason}, but ${odd.join('; ')}`,
    fix: 'docs/file-systems.md says what follows',
  }
}

/** What a store can live with, and its user should know. */
async function oddities(dir: string, ms: number): Promise<readonly string[]> {
  const file = path.join(dir, 'stamp')
  await writeFile(file, '', { mode: 0o600 })
  const info = await stat(file)
  const apart = Math.round((info.mtimeMs - Date.now()) / 1000)
  const odd: string[] = []
  if (ms > SLOW_MS) odd.push(`the steps took ${(ms / 1000).toFixed(1)} s: each sample costs several of them`)
  if (Math.abs(apart) * 1000 > CLOCK_MS) {
    odd.push(
      `its files bear times that are ${Math.abs(apart)} s ${apart > 0 ? 'ahead of' : 'behind'} this host's clock`,
    )
  }
  if ((info.mode & 0o077) !== 0) odd.push('it does not keep files from other users: store.auth protects the features')
  return odd
}
