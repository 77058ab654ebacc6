import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { finding } from '../../core/errors.ts'
import { readTextOrNull, syncPath } from '../../core/files/atomic-file.ts'
import { readRefManifest, referenceManifest } from '../../refs/manifest.ts'

const PIECE = 1024 * 1024

/**
 * Writes the refs of a complete manifest as the reference's one JSON file, whole or not at all.
 * @throws MANIFEST_INVALID or REF_INVALID: nothing is written of what cannot be trusted.
 */
export async function convertToReference(dir: string, file: string): Promise<{ readonly samples: number }> {
  const { refs, contract } = await readRefManifest({ dir })
  refs.checkAll()
  const staged = `${file}.${randomUUID()}.tmp`
  try {
    const handle = await openNew(staged)
    try {
      await writePieces(handle, referenceManifest(refs, contract))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(staged, file)
  } catch (error) {
    await rm(staged, { force: true })
    throw error
  }
  await syncPath(path.dirname(file))
  return { samples: refs.length }
}

async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx')
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause)
    const fix = 'name a file in a folder that is there and can be written'
    throw finding('CONFIG_INVALID', 'the file cannot be written', { field: '--to', found, fix }, { cause })
  }
}

async function writePieces(handle: FileHandle, pieces: Iterable<string>): Promise<void> {
  let held: string[] = []
  let size = 0
  for (const piece of pieces) {
    held.push(piece)
    size += piece.length
    if (size < PIECE) continue
    await handle.appendFile(held.join(''))
    held = []
    size = 0
  }
  await handle.appendFile(held.join(''))
}

const Reference = z.looseObject({
  schema_version: z.literal(1),
  refs: z.array(z.looseObject({ sample_id: z.string() })),
})

/**
 * Looks at a file of the reference and says how its samples get into a manifest. They cannot be taken from the file
 * alone: it has no digests, no token counts and no capture contract, and a manifest promises all three.
 * @throws MANIFEST_INVALID, always.
 */
export async function refuseReference(file: string): Promise<never> {
  const text = await readTextOrNull(file)
  if (text === null) throw notReference(file, 'no such file')
  const parsed = Reference.safeParse(jsonOf(file, text))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw notReference(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
  }
  throw finding('MANIFEST_INVALID', 'a manifest of the reference cannot be taken over without its features', {
    file,
    found: `${parsed.data.refs.length} refs; no digests, token counts or capture contract, which a manifest here promises`,
    fix: 'run `draftbridge ingest` over the feature files that it was made from (features.files)',
  })
}

function jsonOf(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw notReference(file, cause instanceof Error ? cause.message : String(cause))
  }
}

const notReference = (file: string, found: string): Error =>
  finding('MANIFEST_INVALID', 'this is no manifest of the reference', {
    file,
    found,
    fix: 'name the JSON file that the reference wrote, with `schema_version` 1 and `refs`',
  })
