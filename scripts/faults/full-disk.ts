import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Python } from '../../src/bridge/python.ts'
import { TensorSet } from '../../src/bridge/tensor-set.ts'
import { hasCode } from '../../src/core/errors.ts'
import { RunId, SampleId } from '../../src/core/ids.ts'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { sharedDirFeatureStore } from '../../src/store/open.ts'

/**
 * Mounts a file system of `mebibytes` and, if given, room for `files`; disposing unmounts it. Gives the reason as text
 * where mounting is not allowed.
 */
export async function smallDisk(
  mebibytes: number,
  files?: number,
): Promise<(AsyncDisposable & { readonly dir: string }) | string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'draftbridge-disk-'))
  const bounds = files === undefined ? `size=${mebibytes}m` : `size=${mebibytes}m,nr_inodes=${files}`
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', bounds, 'tmpfs', dir], { stdio: 'pipe' })
  } catch (error) {
    await rm(dir, { recursive: true })
    return `no tmpfs can be mounted here: ${error instanceof Error ? error.message.trim().replaceAll('\n', ': ') : error}`
  }
  const unmount = async () => {
    execFileSync('umount', ['-l', dir])
    await rm(dir, { recursive: true })
  }
  return { dir, [Symbol.asyncDispose]: unmount }
}

const about = { runId: RunId.parse('run'), numTokens: 512, provenance: {} }

export interface FilledDisk {
  readonly stored: number
  readonly code: string
  readonly readable: number
  readonly fitsAfterAbort: boolean
  readonly staged: readonly string[]
}

/** Puts samples of 3.5 MiB into a store on `dir` until it is full, then reports what the store holds. */
export async function fillDisk(python: Python, dir: string): Promise<FilledDisk> {
  const root = path.join(dir, 'store')
  await using store = await sharedDirFeatureStore({ python, root, retain: true })
  const put = async (index: number): Promise<SampleRef> => {
    const features = [{ name: 'hidden_state', shape: [512, 3584], dtype: 'bfloat16' as const }]
    await using tensors = new TensorSet(python, await python.call('tensor.synthesize', { seed: index, features }))
    return await store.put(SampleId.parse(`run:${index}`), tensors, about)
  }
  const refs: SampleRef[] = []
  let code = 'none'
  while (code === 'none' && refs.length < 1000) {
    try {
      refs.push(await put(refs.length))
    } catch (error) {
      code = ['STORE_FULL', 'STORE_UNAVAILABLE'].find((each) => hasCode(error, each as 'STORE_FULL')) ?? String(error)
    }
  }
  const places = await readdir(path.join(root, 'staging'))
  const staged = (await Promise.all(places.map((name) => readdir(path.join(root, 'staging', name))))).flat()
  let readable = 0
  for (const ref of refs) {
    await using _lease = await store.get(ref)
    readable += 1
  }
  await store.abort(SampleId.parse('run:0'))
  const again = await put(refs.length).catch(() => null)
  return { stored: refs.length, code, readable, fitsAfterAbort: again !== null, staged }
}
