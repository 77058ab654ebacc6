import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { finding, isErrno } from '../../core/errors.ts'
import { syncFolder } from '../../core/files/atomic-file.ts'
import { readInputText } from '../../core/files/plain-file.ts'
import { readRefManifest, referenceManifest } from '../../refs/manifest.ts'

/** Characters per write. */
const CHUNK = 1024 * 1024
/** Of a manifest in the format of SpecForge, which is parsed whole: about the longest text that Node can have. */
const MAX_REFS = 512 * 1000 * 1000

/**
 * Writes the refs of a complete manifest as one JSON file in the format of SpecForge. The write is atomic.
 * @throws MANIFEST_INVALID or REF_INVALID; the file is then not written.
 */
export async function convertToSpecForge(dir: string, file: string): Promise<{ readonly samples: number }> {
  const { refs, contract } = await readRefManifest({ dir })
  refs.checkAll()
  const staged = `${file}.${randomUUID()}.tmp`
  try {
    await writeReference(staged, referenceManifest(refs, contract))
    await rename(staged, file)
  } catch (error) {
    await rm(staged, { force: true }).catch(() => undefined)
    throw error
  }
  await syncFolder(path.dirname(file))
  return { samples: refs.length }
}

async function writeReference(file: string, pieces: ReturnType<typeof referenceManifest>): Promise<void> {
  await using handle = await openNew(file)
  await writePieces(handle, pieces)
  await handle.sync()
}

async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx')
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause)
    const fix = 'name a file in a folder that exists and is writable'
    throw finding('CONFIG_INVALID', 'the file cannot be written', { field: '--to', found, fix }, { cause })
  }
}

async function writePieces(handle: FileHandle, pieces: Iterable<string>): Promise<void> {
  let pending: string[] = []
  let size = 0
  for (const piece of pieces) {
    pending.push(piece)
    size += piece.length
    if (size < CHUNK) continue
    await handle.appendFile(pending.join(''))
    pending = []
    size = 0
  }
  await handle.appendFile(pending.join(''))
}

const SpecForgeManifest = z.looseObject({
  schema_version: z.literal(1),
  refs: z.array(z.looseObject({ sample_id: z.string() })),
})

/**
 * Checks a SpecForge manifest and reports how to get its samples into a draftbridge manifest. The file alone is not
 * enough: it has no digests, no token counts and no capture contract, which a draftbridge manifest must have.
 * @throws MANIFEST_INVALID, always.
 */
export async function rejectSpecForge(file: string): Promise<never> {
  const text = await readInputText(file, { refuse: (found) => notSpecForge(file, found), maxBytes: MAX_REFS }).catch(
    (error: unknown) => {
      throw isErrno(error, 'ENOENT', 'ENOTDIR') ? notSpecForge(file, 'the file does not exist') : error
    },
  )
  const parsed = SpecForgeManifest.safeParse(jsonOf(file, text))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw notSpecForge(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
  }
  throw finding('MANIFEST_INVALID', 'a SpecForge manifest cannot be converted without its feature files', {
    file,
    found: `${parsed.data.refs.length} refs; no digests, token counts or capture contract, which draftbridge needs`,
    fix: 'set features.files to the feature files of this manifest and run `draftbridge ingest`',
  })
}

function jsonOf(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw notSpecForge(file, cause instanceof Error ? cause.message : String(cause))
  }
}

const notSpecForge = (file: string, found: string): Error =>
  finding('MANIFEST_INVALID', 'this is not a SpecForge manifest', {
    file,
    found,
    fix: 'name a JSON file that SpecForge wrote, with `schema_version` 1 and `refs`',
  })
