/** On disk all keys are snake_case; the contract is the only nested record that needs the conversion. */
export const toSnake = (value: unknown): unknown =>
  mapKeys(value, (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))

export const toCamel = (value: unknown): unknown =>
  mapKeys(value, (key) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()))

function mapKeys(value: unknown, rename: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => mapKeys(item, rename))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [rename(key), mapKeys(child, rename)]))
}
