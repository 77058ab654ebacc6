import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, stat, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { RunConfig } from '../../src/config/schema.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { finished } from '../support/producing.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingInputs, watched } from '../support/training.ts'

checkHandlesAfterEach()
const run = promisify(execFile)
const KINDS = [
  ['btrfs', 'mkfs.btrfs', ['-q']],
  ['xfs', 'mkfs.xfs', ['-q']],
] as const

let inputs = ''
const mounts: string[] = []
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
})
afterAll(async () => {
  for (const mount of mounts) await run('umount', [mount])
})

/** A file system in a file. The reason when this machine or this user cannot have one. */
async function mounted(mkfs: string, flags: readonly string[]): Promise<{ dir: string } | { why: string }> {
  const [image, dir] = [path.join(await tempDir(), 'image'), path.join(await tempDir(), 'mount')]
  try {
    await writeFile(image, '')
    await truncate(image, 320 * 2 ** 20)
    await run(mkfs, [...flags, image])
    await mkdir(dir)
    await run('mount', ['-o', 'loop', image, dir])
  } catch (error) {
    return { why: `${mkfs} and mount: ${String(error).split('\n')[0] ?? ''}` }
  }
  mounts.push(dir)
  return { dir }
}

it.for(KINDS)("clones share blocks with the user's files and nothing else: %s", async ([_, mkfs, flags], { skip }) => {
  const found = await mounted(mkfs, flags)
  if ('why' in found) return skip(found.why)
  const { dir } = found
  const files = path.join(dir, 'features')
  await cp(path.join(inputs, 'features'), files, { recursive: true })
  const config = RunConfig.parse({
    version: 1,
    run: { id: 'test', dir: path.join(dir, 'run') },
    target: { model: path.join(inputs, 'target') },
    data: { maxLength: 18 },
    features: { source: 'files', files },
    store: { kind: 'shared-dir', root: path.join(dir, 'store') },
    manifest: path.join(dir, 'manifest'),
  })
  const context = watched()
  await produce(config, context)
  expect(finished(context)).toMatchObject({ samples: 11, linked: 11 })
  const clones = await readdir(path.join(dir, 'store', 'extern'), { recursive: true })
  const infos = await Promise.all(
    clones.filter((name) => name.endsWith('.bin')).map((name) => stat(path.join(dir, 'store', 'extern', name))),
  )
  expect(infos.map(({ nlink, mode }) => [nlink, mode & 0o777])).toEqual(infos.map(() => [1, 0o600]))
  expect(infos).toHaveLength(11)
  // What the user does to a file afterwards is no concern of the store.
  for (const name of await readdir(files)) await writeFile(path.join(files, name), 'something else')
  await using store = await sharedDirFeatureStore({ python, root: config.store.root, retain: true, create: false })
  for (const ref of (await readRefManifest({ dir: config.manifest })).refs) {
    await using lease = await store.get(ref)
    expect(await digestsOf(lease.tensors)).toEqual(ref.digests)
  }
})
