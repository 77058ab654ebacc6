import { type CodedError, finding } from '../../core/errors.ts'
import { givesKey, STORE_KEY_ENV } from '../../core/store-key-env.ts'
import { sha256 } from '../sha256.ts'
import { type ManifestRoot, rootText } from './manifest-schema.ts'

/** Signs and checks the roots of manifests whose store has a key. */
export interface RootKey {
  /** `hmac_sha256:` and 64 hex digits. */
  sign(text: string): Promise<string>
  verify(text: string, mac: string): Promise<boolean>
}

const BLANK = `hmac_sha256:${'0'.repeat(64)}`
const BLANK_SUM = `sha256:${'0'.repeat(64)}`

/** The text of `manifest.json`. The mac, or without a key the sum, is over this very text with zeros for its own digits. */
export async function signedRootText(root: ManifestRoot, key: RootKey | null): Promise<string> {
  const { mac: _, sum: __, ...unsigned } = root
  if (key === null) {
    const blank = rootText({ ...unsigned, sum: BLANK_SUM })
    return withMac(blank, BLANK_SUM, sumOf(blank))
  }
  const blank = rootText({ ...unsigned, mac: BLANK })
  return withMac(blank, BLANK, await key.sign(blank))
}

/**
 * The root holds the sums of all other files of the manifest, so one mac is enough for all of it. Without a key a mac
 * cannot be checked; a sum can, and detects damage but no forgery. Whoever has a key in the environment expects a mac,
 * even where the store is not opened.
 * @throws STORE_AUTH for a root that no holder of the key has written; MANIFEST_INVALID for one that is damaged.
 */
export async function expectSigned(
  file: string,
  { mac, sum }: Pick<ManifestRoot, 'mac' | 'sum'>,
  text: string,
  key: RootKey | null,
): Promise<void> {
  if (key === null) {
    if (mac === undefined && givesKey()) throw unsigned(file, `no mac, and a key in ${STORE_KEY_ENV}`)
    if (sum !== undefined && sumOf(withMac(text, sum, BLANK_SUM)) !== sum) throw damaged(file)
    return
  }
  if (mac === undefined) throw unsigned(file, 'no mac, as a manifest without a key has it')
  if (!(await key.verify(withMac(text, mac, BLANK), mac))) throw unsigned(file, 'a mac that is not of this text')
}

const sumOf = (text: string): string => `sha256:${sha256(text)}`

const damaged = (file: string): CodedError =>
  finding('MANIFEST_INVALID', 'the root of the manifest is damaged, or was edited by hand', {
    file,
    field: 'sum',
    found: 'a sum that is not of this text',
    fix: 'remove the manifest folder and run the producer again; features in the store stay',
  })

// The mac, or the sum, is the last field of the root.
function withMac(text: string, from: string, to: string): string {
  const at = text.lastIndexOf(from)
  return text.slice(0, at) + to + text.slice(at + from.length)
}

const unsigned = (file: string, found: string): CodedError =>
  finding('STORE_AUTH', 'this manifest was not written by a holder of the store key, or was altered', {
    file,
    field: 'mac',
    found,
    fix: 'find out who can write here; then remove the manifest folder and run the producer again: good features stay',
  })
