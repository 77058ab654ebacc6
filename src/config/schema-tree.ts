import { z } from 'zod'
import { RunConfig } from './schema.ts'

/** The subset of JSON Schema that zod generates for `RunConfig`. */
export interface SchemaNode {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly anyOf?: readonly SchemaNode[]
  readonly items?: SchemaNode
  readonly prefixItems?: readonly SchemaNode[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly pattern?: string
  /** A text with a pattern, described in words. */
  readonly description?: string
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly minLength?: number
}

export type KeyPath = readonly (string | number)[]

/** The JSON Schema of `draftbridge.yaml`: `draftbridge schema` prints it, and error texts are made from it. */
export function configJsonSchema(): SchemaNode {
  return { title: 'draftbridge.yaml', ...z.toJSONSchema(RunConfig, { io: 'input' }) } as SchemaNode
}

let cached: SchemaNode | undefined
const root = (): SchemaNode => {
  cached ??= configJsonSchema()
  return cached
}

/** The part of the schema that describes one key, or undefined if there is no such key. */
export function schemaAt(keyPath: KeyPath): SchemaNode | undefined {
  return keyPath.reduce<SchemaNode | undefined>((node, key) => {
    if (node === undefined) return undefined
    return typeof key === 'number' ? (node.prefixItems?.[key] ?? node.items) : child(node, key)
  }, root())
}

function child(node: SchemaNode, key: string): SchemaNode | undefined {
  return node.properties?.[key] ?? node.anyOf?.map((branch) => child(branch, key)).find((found) => found !== undefined)
}

export function keysOf(node: SchemaNode): readonly string[] {
  return [...Object.keys(node.properties ?? {}), ...(node.anyOf ?? []).flatMap(keysOf)]
}

/**
 * True for a choice between sections, such as `train.batch`: setting a key of one section drops the other sections.
 * A section that may also be null is not a choice.
 */
export const isChoice = (node: SchemaNode): boolean =>
  (node.anyOf ?? []).filter((branch) => branch.properties !== undefined).length > 1

/** Every key of the config as a path; a section comes before its keys. */
export function allKeys(node: SchemaNode = root(), above: readonly string[] = []): (readonly string[])[] {
  return keysOf(node).flatMap((key) => {
    const here = [...above, key]
    const below = child(node, key)
    return below === undefined ? [here] : [here, ...allKeys(below, here)]
  })
}

const typesOf = (node: SchemaNode): readonly string[] =>
  node.anyOf ? node.anyOf.flatMap(typesOf) : node.type === undefined ? [] : [node.type].flat()

/** True if the key accepts strings and no other scalars, so that `run.id=007` stays a string. */
export const takesOnlyText = (node: SchemaNode): boolean => {
  const types = typesOf(node)
  return types.includes('string') && !types.some((type) => ['integer', 'number', 'boolean', 'array'].includes(type))
}

export const takesNull = (node: SchemaNode): boolean => typesOf(node).includes('null')
