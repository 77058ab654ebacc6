import path from 'node:path'
import type { SampleRef } from '../../src/core/sample-ref.ts'
import { type ManifestOptions, ManifestWriter, partFolder } from '../../src/refs/manifest.ts'
import { work } from './producer-work.ts'
import { exampleRef } from './refs.ts'
import { tempDir } from './temp-dir.ts'

/** Refs 0 to `count` - 1, each of the input of its number. */
export const orderedRefs = (count: number): SampleRef[] =>
  Array.from({ length: count }, (_, index) => exampleRef(index, { order: index }))

export const newManifest = async (): Promise<string> => path.join(await tempDir(), 'manifest')

/** What the writer of one part of the manifest in `dir` is given. */
export const partWork = (dir: string, index: number, count: number): ManifestOptions & ReturnType<typeof work> => ({
  ...work(partFolder(dir, index)),
  part: { index, count },
})

/** A complete part with every `count`-th of `refs`. */
export async function writePart(dir: string, index: number, count: number, refs: readonly SampleRef[]): Promise<void> {
  await using writer = await ManifestWriter.open(partWork(dir, index, count))
  const own = refs.filter(({ order = 0 }) => order % count === index)
  for (const ref of own) writer.append(ref)
  await writer.complete([
    [7, 1],
    [index, own.length + 1],
  ])
}
