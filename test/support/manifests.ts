import path from 'node:path'
import { ManifestWriter } from '../../src/refs/manifest.ts'
import { work as workIn } from './producer-work.ts'
import { exampleRef } from './refs.ts'
import { tempDir } from './temp-dir.ts'

export const refs = [0, 1, 2, 3, 4].map((index) => exampleRef(index))
/** What a writer of a new manifest is given. */
export const work = async (dir?: string) => ({ ...workIn(dir ?? path.join(await tempDir(), 'manifest')) })

/** A manifest of two segments: refs 0-2 and 3-4. */
export async function published(): Promise<string> {
  const given = await work()
  const writer = await ManifestWriter.open(given)
  for (const ref of refs.slice(0, 3)) writer.append(ref)
  await writer.flush()
  for (const ref of refs.slice(3)) writer.append(ref)
  await writer.complete([
    [7, 2],
    [3, 9],
    [1, 2],
  ])
  return given.dir
}
