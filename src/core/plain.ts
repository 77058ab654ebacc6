// Fast checks on hot paths. True is final; on false a zod schema decides and names the problem.

export const isText = (value: unknown, pattern: RegExp): value is string =>
  typeof value === 'string' && pattern.test(value)

export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** A plain object, not an instance of a class. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** An array without extra properties. */
export const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) && Reflect.ownKeys(value).length === value.length + 1

/** An object with all of `names`, some of `optional`, and no other property. */
export function hasOnly<K extends string, O extends string = never>(
  value: unknown,
  names: readonly K[],
  optional: readonly O[] = [],
): value is Readonly<Record<K | O, unknown>> {
  if (!isObject(value)) return false
  const present = optional.filter((name) => Object.hasOwn(value, name))
  if (Reflect.ownKeys(value).length !== names.length + present.length) return false
  return names.every((name) => Object.hasOwn(value, name))
}
