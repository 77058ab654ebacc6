import type { FileKind, Layout } from '../../bridge/ingest-ops.ts'
import { layouts } from '../../bridge/ingest-ops.ts'
import type { Python } from '../../bridge/python.ts'
import type { RunConfig } from '../../config/schema.ts'
import { finding } from '../../core/errors.ts'
import type { FeatureFile } from './feature-files.ts'

/** Files that are read together by one call. */
const BATCH = 128

/** Files of one kind. `first`: one of them. */
export interface FilesOfKind {
  readonly kind: FileKind
  readonly files: number
  readonly first: string
}

export interface JudgedFiles {
  readonly layout: Layout
  /** Kinds with most files first. */
  readonly kinds: readonly FilesOfKind[]
  /** Whether some file of the layout holds no mask as such. */
  readonly needsMasks: boolean
}

/** Looks at the names in each file, so that a folder with files of several layouts is refused before any is stored. */
export async function judgeFiles(
  files: readonly FeatureFile[],
  asked: RunConfig['features']['layout'],
  python: Python,
): Promise<JudgedFiles> {
  const kinds = new Map<FileKind, FilesOfKind>()
  let needsMasks = false
  for (let at = 0; at < files.length; at += BATCH) {
    const paths = files.slice(at, at + BATCH).map((file) => file.path)
    const judged = await python.call('features.judge', { paths })
    for (const [index, { kind, about }] of judged.files.entries()) {
      const { files: count = 0, first = paths[index] ?? '' } = kinds.get(kind) ?? {}
      kinds.set(kind, { kind, files: count + 1, first })
      if (kind === 'speculators') needsMasks ||= about !== 'masked'
    }
  }
  const sorted = [...kinds.values()].sort((a, b) => b.files - a.files)
  return { layout: layoutOf(sorted, asked), kinds: sorted, needsMasks }
}

function layoutOf(kinds: readonly FilesOfKind[], asked: RunConfig['features']['layout']): Layout {
  const found = kinds.flatMap((each) =>
    layouts.filter((layout) => layout === each.kind).map((layout) => ({ ...each, layout })),
  )
  const [one, other] = found
  if (other !== undefined) {
    throw finding('CONFIG_INVALID', 'the feature files have several layouts', {
      field: 'features.files',
      found: found.map(({ kind, files, first }) => `${files} x ${kind} (${first})`).join(', '),
      fix: 'name the files of one layout, and ingest those of the other in a run of their own',
    })
  }
  if (asked === 'auto') return one?.layout ?? 'specforge'
  if (one === undefined || one.layout === asked) return asked
  throw finding('CONFIG_INVALID', 'the feature files have another layout', {
    file: one.first,
    field: 'features.layout',
    found: `${asked}; ${one.files} files are ${one.layout}`,
    fix: `ingest them --as ${one.layout}, or --as auto`,
  })
}
