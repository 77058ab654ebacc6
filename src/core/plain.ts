// Words for quick looks at values: a "yes" is sure, and what gets a "no" is for a schema to judge and to name.

export const isText = (value: unknown, pattern: RegExp): value is string =>
  typeof value === 'string' && pattern.test(value)

export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** An object of no class. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A list with its items and nothing beside them. */
export const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) && Reflect.ownKeys(value).length === value.length + 1

/** An object with these properties and no others. */
export function hasOnly<K extends string>(value: unknown, names: readonly K[]): value is Readonly<Record<K, unknown>> {
  if (!isObject(value) || Reflect.ownKeys(value).length !== names.length) return false
  return names.every((name) => Object.hasOwn(value, name))
}
