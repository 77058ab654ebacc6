import { execFile } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import {
  cp,
  link,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { RunConfig } from '../../src/config/schema.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { readRefManifest } from '../../src/refs/manifest.ts'
import { produce } from '../../src/roles/produce/produce.ts'
import type { FeatureStore } from '../../src/store/feature-store.ts'
import { verifyStore } from '../../src/store/maintenance/verify-store.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'
import { openStoreForMaintenance } from '../../src/store/open-for-maintenance.ts'
import { checkHandlesAfterEach, digestsOf, python } from '../support/python.ts'
import { tempDir } from '../support/temp-dir.ts'
import { pythonProgram, trainingInputs, watched } from '../support/training.ts'

checkHandlesAfterEach()
const run = promisify(execFile)
type LinkMode = RunConfig['features']['link']

const hasOtherDisk = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync(tmpdir()).dev

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
})

async function scene(mode: LinkMode, files?: string) {
  const dir = await tempDir()
  const own = files ?? path.join(dir, 'features')
  if (files === undefined) await cp(path.join(inputs, 'features'), own, { recursive: true })
  const config = RunConfig.parse({
    version: 1,
    run: { id: 'test', dir: path.join(dir, 'run') },
    target: { model: path.join(inputs, 'target') },
    data: { maxLength: 18 },
    features: { source: 'files', files: own, link: mode },
    store: { kind: 'shared-dir', root: path.join(dir, 'store'), durability: 'fast' },
    manifest: path.join(dir, 'manifest'),
  })
  return { config, files: own, root: config.store.root }
}

async function ingest({ config }: { readonly config: RunConfig }, onBad: 'skip' | 'stop' = 'skip') {
  const context = watched()
  await produce({ ...config, data: { ...config.data, onBad } }, context)
  const refs = [...(await readRefManifest({ dir: config.manifest })).refs]
  const finished = context.seen.find((body) => body.event === 'produce.finished')
  return { refs, finished, copies: context.seen.filter((body) => body.event === 'produce.copied') }
}

const openStore = (root: string) => sharedDirFeatureStore({ python, root, retain: true, create: false })

async function digestsIn(store: FeatureStore, ref: SampleRef) {
  await using lease = await store.get(ref)
  return await digestsOf(lease.tensors)
}

const externFiles = async (root: string) =>
  (await readdir(path.join(root, 'extern'), { recursive: true }).catch(() => [])).filter((name) =>
    name.endsWith('.bin'),
  )

/** The same refs, whatever holds the bytes; only store, generation and the place of the files differ. */
const comparable = (refs: readonly SampleRef[]) =>
  refs.map(({ sampleId, features, digests, numTokens, bytes }) => ({ sampleId, features, digests, numTokens, bytes }))

describe('tensors that stay in their files', () => {
  it.each(['reference', 'hardlink', 'auto'] as const)('give the same samples as copies do: %s', async (mode) => {
    const [linked, copied] = [await scene(mode), await scene('copy')]
    const [got, wanted] = [await ingest(linked), await ingest(copied)]
    expect(comparable(got.refs)).toEqual(comparable(wanted.refs))
    expect(got.finished).toMatchObject({ samples: 11, linked: 11, cut: 3 })
    expect(wanted.finished).toMatchObject({ samples: 11, linked: 0 })
    expect(await externFiles(linked.root)).toHaveLength(mode === 'reference' ? 0 : 11)
    await using store = await openStore(linked.root)
    for (const ref of got.refs) expect(await digestsIn(store, ref)).toEqual(ref.digests)
  })

  it.each([
    ['copy', false],
    ['copy', true],
    ['hardlink', false],
    ['reference', false],
  ] as const)(
    'are found good by a check of the whole store, with the manifest or without: %s, dedup %s',
    async (mode, dedup) => {
      const given = await scene(mode)
      const config = { ...given.config, store: { ...given.config.store, dedup } }
      const { refs } = await ingest({ config })
      const known = new Map(refs.map((ref) => [ref.sampleId, ref]))
      for (const refOf of [() => undefined, ({ sampleId }: { sampleId: string }) => known.get(sampleId as never)]) {
        await using store = await openStoreForMaintenance({ python, root: given.root })
        const usual = { dryRun: true, restart: true, onProgress: () => undefined, signal: new AbortController().signal }
        expect(await verifyStore(store.parts, store.files, { ...usual, refOf })).toMatchObject({ objects: 11, bad: [] })
      }
    },
  )

  it.each(['copy', 'hardlink', 'reference'] as const)(
    'are refused where they hold a value that is no number, and leave nothing: %s',
    async (mode) => {
      const given = await scene(mode)
      const [bad = ''] = ['data_004.ckpt'].map((name) => path.join(given.files, name))
      const spoil = `import torch,sys; f=sys.argv[1]; d=torch.load(f); d['aux_hidden_state'][0,3,5]=float('nan'); torch.save(d,f)`
      await run(pythonProgram, ['-c', spoil, bad])
      const found = expect.stringContaining('the first at token 3')
      const details = { file: bad, field: 'aux_hidden_state, layer 1', found }
      await expect(ingest(given, 'stop')).rejects.toMatchObject({ code: 'FEATURE_INVALID', details })
      // What is stored are whole samples, each with its linked file: nothing of the bad one, nor of what is half done.
      const names = await readdir(given.root, { recursive: true })
      const objects = names.filter((name) => name.startsWith('objects/') && name.endsWith('.safetensors'))
      expect(objects.filter((name) => name.includes('00000004'))).toEqual([])
      expect(objects.filter((name) => name.includes('00000003'))).toHaveLength(1)
      expect(await externFiles(given.root)).toHaveLength(mode === 'hardlink' ? objects.length : 0)
    },
  )

  it('keep their bytes when the user removes the files that were linked, until the sample is gone', async () => {
    const given = await scene('hardlink')
    const { refs } = await ingest(given)
    await rm(given.files, { recursive: true })
    await using store = await openStore(given.root)
    const [first, ...others] = refs
    if (first === undefined) throw new Error('no refs')
    for (const ref of refs) expect(await digestsIn(store, ref)).toEqual(ref.digests)
    await store.abort(first.sampleId)
    expect(await externFiles(given.root)).toHaveLength(others.length)
  })

  it('leave the files as they are when the sample is removed', async () => {
    const given = await scene('hardlink')
    const before = await readFile(path.join(given.files, 'data_000.ckpt'))
    const { refs } = await ingest(given)
    await using store = await openStore(given.root)
    for (const { sampleId } of refs) await store.abort(sampleId)
    expect(await externFiles(given.root)).toEqual([])
    expect(await readFile(path.join(given.files, 'data_000.ckpt'))).toEqual(before)
  })

  it('are copied and counted where they do not lie in the file as they are', async () => {
    const given = await scene('reference')
    const [one, two] = ['data_000.ckpt', 'data_001.ckpt'].map((name) => path.join(given.files, name))
    await writeFile(`${one}.gz`, gzipSync(await readFile(one ?? '')))
    await rm(one ?? '')
    const apart = `import torch,sys; f=sys.argv[1]; d=torch.load(f); x=torch.cat([d['hidden_state']]*2,-1); d['hidden_state']=x[...,:x.shape[-1]//2]; torch.save(d,f)`
    await run(pythonProgram, ['-c', apart, two ?? ''])
    const { refs, finished, copies } = await ingest(given)
    expect(finished).toMatchObject({ samples: 11, linked: 9 })
    expect(copies).toEqual([
      { event: 'produce.copied', samples: 1, why: 'compressed file' },
      { event: 'produce.copied', samples: 1, why: 'tensor not contiguous' },
    ])
    await using store = await openStore(given.root)
    for (const ref of refs) expect(await digestsIn(store, ref)).toEqual(ref.digests)
  })

  it('are found behind a symbolic link, and the store remembers the file itself', async () => {
    const given = await scene('reference')
    const real = path.join(given.files, 'data_000.real')
    await rename(path.join(given.files, 'data_000.ckpt'), real)
    await symlink(real, path.join(given.files, 'data_000.ckpt'))
    const { refs } = await ingest(given)
    await rm(path.join(given.files, 'data_000.ckpt'))
    await using store = await openStore(given.root)
    for (const ref of refs) expect(await digestsIn(store, ref)).toEqual(ref.digests)
  })

  it('say so when the wanted way is not possible, and `auto` copies', async (context) => {
    if (!hasOtherDisk) context.skip('needs /dev/shm on another file system than the folder for temporary files')
    const far = path.join('/dev/shm', path.basename(await tempDir()))
    await cp(path.join(inputs, 'features'), far, { recursive: true })
    try {
      const strict = await scene('hardlink', far)
      await expect(ingest(strict)).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        details: { field: 'features.link', file: path.join(far, 'data_000.ckpt') },
      })
      const { finished, copies } = await ingest(await scene('auto', far))
      expect(finished).toMatchObject({ samples: 11, linked: 0 })
      expect(copies).toEqual([{ event: 'produce.copied', samples: 11, why: 'no link possible here' }])
    } finally {
      await rm(far, { recursive: true })
    }
  })
})

const damages: readonly (readonly [string, (file: string) => Promise<void>])[] = [
  ['overwritten in place, its time set back', overwritten],
  ['cut short', async (file) => truncate(file, (await stat(file)).size - 2000)],
  ['grown', async (file) => writeFile(file, 'x', { flag: 'a' })],
  ['replaced by a file of the same size', async (file) => replaced(file)],
  ['gone', (file) => rm(file)],
  [
    'a symbolic link now',
    async (file) => {
      await rename(file, `${file}.real`)
      await symlink(`${file}.real`, file)
    },
  ],
]

describe('a source file that is not what it was', () => {
  it.each(damages)('is found when it is %s, and named', async (_, damage) => {
    const given = await scene('reference')
    const { refs } = await ingest(given)
    const file = path.join(given.files, 'data_003.ckpt')
    await damage(file)
    await using store = await openStore(given.root)
    const [bad, good] = [refs[3], refs[4]]
    if (bad === undefined || good === undefined) throw new Error('no refs')
    const error = await store.get(bad).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'SAMPLE_CORRUPT' })
    expect(String(error)).toContain(file)
    expect(await digestsIn(store, good)).toEqual(good.digests)
  })

  it('is found behind a hard link too', async () => {
    const given = await scene('hardlink')
    const { refs } = await ingest(given)
    await overwritten(path.join(given.files, 'data_003.ckpt'))
    await using store = await openStore(given.root)
    const [bad] = refs.slice(3)
    if (bad === undefined) throw new Error('no refs')
    await expect(store.get(bad)).rejects.toMatchObject({ code: 'SAMPLE_CORRUPT' })
  })
})

async function overwritten(file: string): Promise<void> {
  const { size, atime, mtime } = await stat(file)
  const handle = await open(file, 'r+')
  // torch puts the two states last, before a short directory; half-way in lies one of them.
  await handle.write(Buffer.from([0x55, 0xaa]), 0, 2, Math.floor(size / 2))
  await handle.close()
  await utimes(file, atime, mtime)
}

async function replaced(file: string): Promise<void> {
  const whole = await readFile(file)
  await writeFile(`${file}.new`, whole.reverse())
  await link(file, `${file}.old`)
  await rename(`${file}.new`, file)
}
