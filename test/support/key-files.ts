import { chmod, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { tempDir } from './temp-dir.ts'

/** 32 bytes that look like a key and are the same for the same number. */
export const secretHex = (number: number): string =>
  Buffer.from(Array.from({ length: 32 }, (_, at) => (at * 7 + number * 31 + 1) % 256)).toString('hex')

/** A key file as it has to be. */
export async function keyFile(number = 1): Promise<string> {
  const file = path.join(await tempDir(), 'key')
  await writeFile(file, `${secretHex(number)}\n`)
  await chmod(file, 0o600)
  return file
}
