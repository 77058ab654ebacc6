import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Decompress } from 'fzstd'

const GZIP = Buffer.from([0x1f, 0x8b])
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const HEAD_BYTES = 4

/**
 * The bytes of a plain, gzip or zstd stream, unpacked. What the stream is stands in its first bytes, whatever its name is:
 * downloads often lose or gain an ending.
 */
export async function* unpackedChunks(raw: Readable): AsyncGenerator<Buffer> {
  const chunks = raw[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const begin: Buffer[] = []
  for (let size = 0; size < HEAD_BYTES; ) {
    const { done, value } = await chunks.next()
    if (done === true) break
    begin.push(value)
    size += value.length
  }
  const head = Buffer.concat(begin)
  const all = chained(head, chunks)
  if (head.subarray(0, 2).equals(GZIP)) yield* gunzipped(all)
  else if (head.subarray(0, 4).equals(ZSTD)) yield* unzstd(all)
  else yield* all
}

async function* chained(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
}

async function* gunzipped(packed: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const { Readable } = await import('node:stream')
  const given = { bytes: 0, meant: 0 }
  const source = Readable.from(counted(packed, given), { objectMode: false })
  const plain = createGunzip()
  // pipe() does not forward errors, and an 'error' event without a listener would end the process.
  source.on('error', (error) => plain.destroy(error))
  try {
    yield* source.pipe(plain) as AsyncIterable<Buffer>
    // zlib ends at zeros behind a stream, and leaves out what follows them.
    if (given.meant > plain.bytesWritten) throw new Error('data behind the end of the gzip stream')
  } finally {
    source.destroy()
    plain.destroy()
  }
}

/** `meant`: where the last byte ends that is not zero. */
async function* counted(packed: AsyncGenerator<Buffer>, given: { bytes: number; meant: number }) {
  for await (const chunk of packed) {
    const last = chunk.findLastIndex((byte) => byte !== 0)
    if (last >= 0) given.meant = given.bytes + last + 1
    given.bytes += chunk.length
    yield chunk
  }
}

async function* unzstd(packed: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const plain: Buffer[] = []
  let ended = false
  const unpacker = new Decompress((chunk, isLast) => {
    if (chunk.length > 0) plain.push(Buffer.from(chunk))
    ended = isLast === true
  })
  for await (const chunk of packed) {
    unpacker.push(chunk)
    yield* plain.splice(0)
  }
  unpacker.push(new Uint8Array(0), true)
  yield* plain.splice(0)
  if (!ended) throw new Error('the zstd stream ends in the middle')
}
