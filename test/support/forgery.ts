import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** What a party does that can write to the mount of a store and has no key. */

/** The only object of a store, or the one whose name begins so. */
export async function objectIn(root: string, begin = ''): Promise<string> {
  const all = await readdir(path.join(root, 'objects'), { recursive: true })
  const found = all.filter((name) => name.endsWith('.safetensors') && path.basename(name).startsWith(begin))
  if (found.length !== 1) throw new Error(`${found.length} objects begin with ${begin}`)
  return path.join(root, 'objects', found[0] ?? '')
}

/** Changes the metadata and leaves the data where it is. */
export async function editMetadata(file: string, edit: (metadata: Record<string, string>) => void): Promise<void> {
  const whole = await readFile(file)
  const end = 8 + Number(whole.readBigUInt64LE(0))
  const header = JSON.parse(whole.toString('utf8', 8, end))
  edit(header.__metadata__)
  const text = JSON.stringify(header).padEnd(end - 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)))
  await writeFile(file, Buffer.concat([length, Buffer.from(text), whole.subarray(end)]))
}

/** Flips the last bit of the data. */
export async function flipLast(file: string): Promise<void> {
  const whole = await readFile(file)
  whole[whole.length - 1] = (whole.at(-1) ?? 0) ^ 1
  await writeFile(file, whole)
}

/** All bytes of all files below `dir`. */
export async function allBytes(dir: string): Promise<Buffer> {
  const parts: Buffer[] = []
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) parts.push(await readFile(path.join(entry.parentPath, entry.name)), Buffer.from(entry.name))
  }
  return Buffer.concat(parts)
}
