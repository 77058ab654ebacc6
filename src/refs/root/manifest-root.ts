import { realpath } from 'node:fs/promises'
import path from 'node:path'
import { type CodedError, finding } from '../../core/errors.ts'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { PRODUCE_AGAIN } from '../produce-again.ts'
import { MANIFEST_FORMAT, ManifestRoot, ManifestVersion, READABLE_VERSIONS, ROOT_FILE } from './manifest-schema.ts'
import { expectSigned, type RootKey } from './root-mac.ts'

export interface RootFile {
  readonly root: ManifestRoot
  /** The content of the file, unchanged. */
  readonly text: string
}

/** The absolute path of the root of the manifest in `dir`, links resolved: it tells manifests apart. */
export const manifestFile = async (dir: string): Promise<string> => path.join(await realpath(dir), ROOT_FILE)

/**
 * `manifest.json` of the manifest in `dir`, in any state; null when there is none.
 * @throws STORE_AUTH when it is not signed with `key`; MANIFEST_INVALID when it is damaged.
 */
export async function readManifestRoot(dir: string, key: RootKey | null = null): Promise<RootFile | null> {
  const file = path.join(dir, ROOT_FILE)
  const text = await readTextOrNull(file, { refuse: noRoot(file) })
  if (text === null) return null
  const root = parseRoot(file, text)
  await expectSigned(file, root, text, key)
  return { root, text }
}

const noRoot = (file: string) => (found: string) =>
  finding('MANIFEST_INVALID', 'this cannot be the root of a manifest', { file, found, fix: PRODUCE_AGAIN })

function parseRoot(file: string, text: string): ManifestRoot {
  const json = parseJson(file, text)
  const version = ManifestVersion.safeParse(json)
  if (!version.success) {
    const fix = 'name the folder that a producer published, not one inside or above it'
    throw invalidManifest(
      'this is no draftbridge manifest',
      file,
      version.error.issues,
      `format ${MANIFEST_FORMAT}`,
      fix,
    )
  }
  if (!(READABLE_VERSIONS as readonly number[]).includes(version.data.schema_version)) {
    throw finding('MANIFEST_INVALID', 'this manifest has a version that this program does not know', {
      file,
      field: 'schema_version',
      found: `${version.data.schema_version}; this program reads ${new Intl.ListFormat('en').format(READABLE_VERSIONS.map(String))}`,
      fix: 'use the version of draftbridge that the producer used',
    })
  }
  const parsed = ManifestRoot.safeParse(json)
  if (parsed.success) return parsed.data
  throw invalidManifest(
    'the root of the manifest is damaged',
    file,
    parsed.error.issues,
    'something else',
    PRODUCE_AGAIN,
  )
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause)
    throw finding('MANIFEST_INVALID', 'the manifest is not JSON', { file, found, fix: PRODUCE_AGAIN }, { cause })
  }
}

function invalidManifest(
  what: string,
  file: string,
  issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[],
  otherwise: string,
  fix: string,
): CodedError {
  const [issue] = issues
  const field = issue?.path.map(String).join('.') ?? ''
  return finding('MANIFEST_INVALID', what, { file, field, found: issue?.message ?? otherwise, fix })
}
