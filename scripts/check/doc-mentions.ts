import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'

/** What a mention may refer to. */
export interface Repository {
  /** All tracked files, as paths from the root. */
  readonly files: readonly string[]
  /** Names of the scripts in package.json. */
  readonly scripts: readonly string[]
  /** The text of a tracked file. */
  readonly textOf: (file: string) => string
}

const TOP = 'src|python|test|docs|scripts|examples'
const LINK = /\]\(([^)\s]+)\)/g
/** A path from the root, wherever it stands. Not `../src/x` and not `/mnt/src/x`. */
const ROOTED = new RegExp(`(?<![\\w./<-])(?:${TOP})/[\\w./-]*[\\w/]`, 'g')
/** A file that is named by the end of its path, in backticks. */
const NAMED = /`([\w.-][\w./-]*\.(?:ts|mjs|cjs|py|md))`/g
const MARKDOWN = /(?<![\w./-])[\w./-]+\.md\b/g
const NPM = /npm run (?:-\w+ )*([\w:-]+)/g

const all = (text: string, pattern: RegExp): readonly string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? match[0])

/** Mentions in one document of what is not in the repository, a line each. */
export function brokenMentions(file: string, text: string, repository: Repository): readonly string[] {
  const known = new Set(repository.files)
  const isFolder = (name: string): boolean => repository.files.some((each) => each.startsWith(`${name}/`))
  const exists = (name: string): boolean => known.has(name) || isFolder(name.replace(/\/$/, ''))
  const endsSo = (name: string): boolean => exists(name) || repository.files.some((each) => each.endsWith(`/${name}`))
  const prose = withoutFences(text)
  const links = all(prose, LINK).filter((link) => !/^[a-z]+:/.test(link))
  return [
    ...links.filter((link) => !linkExists(file, link, repository, exists)).map((link) => `the link ${link}`),
    ...all(text, ROOTED).filter((name) => !exists(name)),
    ...all(prose, NAMED).filter((name) => !endsSo(name)),
    ...all(text, NPM)
      .filter((name) => !repository.scripts.includes(name))
      .map((name) => `npm run ${name}`),
    ...missingTitles(prose, repository),
  ].map((mention) => `${file}: ${mention} does not exist`)
}

/** Documents that a source file cites and that are not in the repository, a line each. */
export function brokenCitations(file: string, text: string, { files }: Repository): readonly string[] {
  return all(text, MARKDOWN)
    .filter((name) => !files.some((each) => each === name || each.endsWith(`/${name}`)))
    .map((name) => `${file}: cites ${name}, which does not exist`)
}

function linkExists(file: string, link: string, repository: Repository, exists: (name: string) => boolean): boolean {
  const [target = '', anchor] = link.split('#')
  const name = target === '' ? file : path.posix.join(path.posix.dirname(file), target)
  if (name === '.' || !exists(name)) return name === '.'
  if (anchor === undefined || !name.endsWith('.md')) return true
  return all(withoutFences(repository.textOf(name)), /^#+ (.+)$/gm)
    .map(slugOf)
    .includes(anchor)
}

/** The anchor that GitHub gives a heading. */
const slugOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

const withoutFences = (text: string): string => text.replace(/^```.*?^```/gms, '')

/**
 * Titles of tests that do not stand in the file named before them. A document writes `` `test/x.test.ts`: *title* ``; the
 * file counts up to the end of the table cell or line. `…` stands for any text; Python's titles are function names.
 */
function missingTitles(prose: string, { files, textOf }: Repository): readonly string[] {
  const testNamed = (name: string): string | undefined =>
    files.find((file) => file.startsWith('test/') && (file === name || file.endsWith(`/${name}`)))
  return prose.split(/\n|(?<!\\)\|/).flatMap((cell) => {
    let test: string | undefined
    const missing: string[] = []
    for (const [, span, title] of cell.matchAll(/`([^`]+)`|(?<!\*)\*([^*]+)\*(?!\*)/g)) {
      if (span !== undefined) test = testNamed(span) ?? test
      if (title === undefined || test === undefined || hasTitle(textOf(test), test, title)) continue
      missing.push(`the test "${title}" in ${test}`)
    }
    return missing
  })
}

function hasTitle(source: string, file: string, title: string): boolean {
  const text = (file.endsWith('.py') ? source.replaceAll('_', ' ') : source.replaceAll("\\'", "'")).replace(/\s+/g, ' ')
  return title.split('…').every((part) => text.includes(part.trim()))
}

interface Verdict {
  readonly ok: boolean
  readonly output: string
}

// The tests of scripts make up names of documents.
const SOURCE = /^(?!test\/scripts\/).*\.(ts|mjs|cjs|py)$/
const Package = z.object({ scripts: z.record(z.string(), z.string()) })

/** Checks all tracked documents and the documents that sources cite; `listing` is the output of `git ls-files -z`. */
export async function checkDocMentions(root: string, listing: Verdict): Promise<Verdict> {
  if (!listing.ok) return listing
  const files = listing.output.split('\0').filter((file) => file !== '')
  const read = files.filter((file) => SOURCE.test(file) || file.endsWith('.md'))
  // A file that is tracked and removed is a change that is not committed yet.
  const texts = new Map(
    await Promise.all(
      read.map(async (file) => [file, await readFile(path.join(root, file), 'utf8').catch(() => '')] as const),
    ),
  )
  const scripts = Object.keys(
    Package.parse(JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'))).scripts,
  )
  const repository = { files, scripts, textOf: (file: string) => texts.get(file) ?? '' }
  const faults = [...texts].flatMap(([file, text]) =>
    file.endsWith('.md') ? brokenMentions(file, text, repository) : brokenCitations(file, text, repository),
  )
  const documents = read.filter((file) => file.endsWith('.md')).length
  if (documents === 0) return { ok: false, output: 'git lists no document' }
  return { ok: faults.length === 0, output: faults.join('\n') }
}
