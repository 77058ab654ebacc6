import type { FileHandle } from 'node:fs/promises'
import { z } from 'zod'
import { isErrno } from '../../../core/errors.ts'
import { openPlain } from '../../../core/files/plain-file.ts'
import { storageError } from '../../../core/files/storage-error.ts'
import { Generation, RunId, SampleId } from '../../../core/ids.ts'
import type { ObjectLabel } from '../inventory.ts'

/** The longest header that the format allows. */
export const MAX_HEADER = 1 << 20
/** Headers are a few KiB, so one read is enough for nearly all. */
const FIRST_READ = 8192

const Label = z.looseObject({
  __metadata__: z.looseObject({
    run_id: RunId,
    sample_id: SampleId,
    generation: z.string().regex(/^[1-9]\d{0,15}$/),
  }),
})

/** Something else lies where an object should. */
class NoObject extends Error {}

/** Null for a file without a readable label, or without a file. Needs no Python and reads no tensor. */
export async function readLabel(file: string): Promise<ObjectLabel | null> {
  try {
    await using handle = await openPlain(file, (found) => new NoObject(found))
    return labelIn(await headerOf(handle))
  } catch (error) {
    if (error instanceof NoObject || isErrno(error, 'ENOENT')) return null
    throw storageError(error, file)
  }
}

async function headerOf(handle: FileHandle): Promise<string | null> {
  const first = Buffer.alloc(FIRST_READ)
  const { bytesRead } = await handle.read(first, 0, FIRST_READ, 0)
  if (bytesRead < 8) return null
  const length = first.readBigUInt64LE(0)
  if (length > MAX_HEADER) return null
  const end = 8 + Number(length)
  if (end <= bytesRead) return first.toString('utf8', 8, end)
  const rest = Buffer.alloc(Number(length))
  const whole = await handle.read(rest, 0, rest.length, 8)
  return whole.bytesRead === rest.length ? rest.toString('utf8') : null
}

function labelIn(text: string | null): ObjectLabel | null {
  if (text === null) return null
  try {
    const about = Label.safeParse(JSON.parse(text)).data?.__metadata__
    if (about === undefined) return null
    const generation = Generation.parse(Number(about.generation))
    return { runId: about.run_id, sampleId: about.sample_id, generation }
  } catch {
    return null
  }
}
