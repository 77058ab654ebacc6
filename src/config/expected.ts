import { looksLikeKey } from '../core/store-key-env.ts'
import { keysOf, type SchemaNode } from './schema-tree.ts'

/** The values that a key accepts, in words: `a whole number of at least 1`. */
export function expected(node: SchemaNode): string {
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(expected))].join(', or ')
  if (node.const !== undefined) return show(node.const)
  if (node.enum !== undefined) return `one of ${node.enum.map(String).join(' | ')}`
  return [node.type ?? 'any']
    .flat()
    .map((type) => ofType(type, node))
    .join(', or ')
}

function ofType(type: string, node: SchemaNode): string {
  switch (type) {
    case 'integer':
      return `a whole number${range(node, 1)}`
    case 'number':
      return `a number${range(node, 0)}`
    case 'boolean':
      return 'true or false'
    case 'null':
      return 'null'
    case 'string':
      return node.description ?? (node.pattern === undefined ? 'text' : `text like ${node.pattern}`)
    case 'array':
      return list(node)
    case 'object':
      return `a section with ${keysOf(node).join(', ')}`
    default:
      return 'a value'
  }
}

function list(node: SchemaNode): string {
  if (node.prefixItems !== undefined)
    return `a list of ${node.prefixItems.length}: ${node.prefixItems.map(expected).join('; ')}`
  const atLeast = node.minItems === undefined ? '' : ` with at least ${node.minItems}`
  return `a list${atLeast}, each ${node.items === undefined ? 'a value' : expected(node.items)}`
}

function range(node: SchemaNode, step: number): string {
  const above = node.exclusiveMinimum
  const min = node.minimum ?? (above !== undefined && step > 0 ? above + step : undefined)
  const max = node.maximum !== undefined && node.maximum < Number.MAX_SAFE_INTEGER ? node.maximum : undefined
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return ` of at least ${min}`
  if (above !== undefined) return ` above ${above}`
  return max === undefined ? '' : ` of at most ${max}`
}

/** A value as the user typed it, on one line of at most 80 characters. Keys of a store are never shown. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string' && looksLikeKey(value)) return 'a text that looks like a secret key'
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
