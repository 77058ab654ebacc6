/**
 * The environment variable that may hold a store's key. Only Python reads its value. It stays in the environment, because
 * the rank processes of a node get it from there; who may read /proc/<pid>/environ of this user may read it, so a key
 * file is the better place.
 */
export const STORE_KEY_ENV = 'DRAFTBRIDGE_STORE_KEY'

/** Whether the environment gives a key. Whoever gives one expects a store and manifests that are protected by it. */
export const givesKey = (env: NodeJS.ProcessEnv = process.env): boolean => (env[STORE_KEY_ENV] ?? '') !== ''

/** True for text that looks like a key where a path or a setting is expected. An error must not repeat such text. */
export function looksLikeKey(text: string): boolean {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return true
  // Base64 of 32 bytes; a path of that length hardly ever has all three kinds of characters.
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) && [/[a-z]/, /[A-Z]/, /[0-9]/].every((kind) => kind.test(text))
}
