import { LineCounter, parseDocument } from 'yaml'
import { finding, isErrno } from '../core/errors.ts'
import { readInputText } from '../core/files/plain-file.ts'
import type { KeyPath } from './schema-tree.ts'

/** A config file: its value, and the line and column of each key. JSON is read as YAML. */
export interface ConfigSource {
  readonly value: unknown
  /** `file:line:column` of a key, or of the nearest section above it that the file has. */
  locate(keyPath: KeyPath): string
  has(keyPath: KeyPath): boolean
}

/** @throws CONFIG_INVALID when the file is missing, unreadable or not YAML; the text shows the line. */
export async function readConfigSource(file: string): Promise<ConfigSource> {
  const text = await readText(file)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [broken] = document.errors
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0])
    const what = `the config is not valid YAML: ${broken.message}\n${codeFrame(text, line, col)}`
    const fix = 'fix this line or the lines above it'
    throw finding('CONFIG_INVALID', what, { file: `${file}:${line}:${col}`, fix })
  }
  const locate = (keyPath: KeyPath): string => {
    const offset = offsetOf(document, keyPath)
    if (offset === undefined) return file
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  return { value: document.toJS(), locate, has: (keyPath) => document.hasIn(keyPath) }
}

/** The line, the two lines above it, and a caret under the column. */
function codeFrame(text: string, line: number, col: number): string {
  const first = Math.max(1, line - 2)
  const shown = text.split('\n').slice(first - 1, line)
  const width = String(line).length
  const rows = shown.map((row, index) => `  ${String(first + index).padStart(width)} | ${row}`)
  return [...rows, `  ${' '.repeat(width)} | ${' '.repeat(col - 1)}^`].join('\n')
}

async function readText(file: string): Promise<string> {
  try {
    return await readInputText(file, { refuse: (found) => new Error(found) })
  } catch (cause) {
    const missing = isErrno(cause, 'ENOENT')
    const what = missing ? 'the config file does not exist' : 'the config file cannot be read'
    const fix = missing
      ? 'create one with `draftbridge init`, or name your config with -c FILE'
      : 'name a readable file with -c FILE'
    const found = cause instanceof Error ? cause.message : String(cause)
    throw finding('CONFIG_INVALID', what, { file, ...(missing ? {} : { found }), fix }, { cause })
  }
}

/** The offset of the key at `keyPath`. A list item has no key, so its offset is that of the item. */
function offsetOf(document: ReturnType<typeof parseDocument>, keyPath: KeyPath): number | undefined {
  for (let length = keyPath.length; length > 0; length--) {
    const above: unknown = document.getIn(keyPath.slice(0, length - 1), true)
    const offset = startOf(above, keyPath[length - 1])
    if (offset !== undefined) return offset
  }
  return undefined
}

function startOf(collection: unknown, key: string | number | undefined): number | undefined {
  if (typeof collection !== 'object' || collection === null || !('items' in collection)) return undefined
  if (!Array.isArray(collection.items)) return undefined
  const items: unknown[] = collection.items
  const pairs = items.filter((item) => isPair(item))
  const match = pairs.find((pair) => String(pair.key) === String(key))
  const node: unknown = match?.key ?? (typeof key === 'number' && pairs.length === 0 ? items[key] : undefined)
  return rangeStart(node)
}

const isPair = (item: unknown): item is { key: unknown } => typeof item === 'object' && item !== null && 'key' in item

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node) || !Array.isArray(node.range)) return undefined
  const start: unknown = node.range[0]
  return typeof start === 'number' ? start : undefined
}
