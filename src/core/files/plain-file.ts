import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { isErrno } from '../errors.ts'
import { askAgain } from './ask-again.ts'
import { unavailable } from './storage-error.ts'

/**
 * The largest file that is read as one text, unless its reader names another limit. A root of a manifest of this size
 * lists 300,000 segments, token counts 3 million tokens, the record of a checkpoint 800,000 lost samples. Far larger ones
 * would not fit into a string, and are damaged or planted.
 */
export const MAX_TEXT_BYTES = 64 * 1024 * 1024

/** The error for something else than the file that is wanted. `found` says what is there instead. */
export type Refuse = (found: string) => Error

export interface PlainRead {
  readonly refuse?: Refuse
  readonly maxBytes?: number
}

// Whoever may write to a shared folder may put a link or a pipe in the place of a file: it is not followed, and not
// waited for. What was opened is then asked what it is, because a name may get another file at any time.
const PLAIN = constants.O_NOFOLLOW | constants.O_NONBLOCK

export const REMOVE = 'find out who put it there, and remove it'

/** What a user may name as an input without a file: the pipe or the terminal that the shell gave to this process. */
const OWN_STREAM = /^\/(dev\/(stdin|fd\/\d+)|proc\/self\/fd\/\d+)$/

/** Opens a file in a folder that others can write to. Throws what `refuse` makes of anything but a regular file. */
export async function openPlain(
  file: string,
  refuse: Refuse = unfit(file),
  flags: number = constants.O_RDONLY,
): Promise<FileHandle> {
  return (await opened(file, flags | PLAIN, refuse))[0]
}

export function openPlainSync(file: string, refuse: Refuse = unfit(file), flags: number = constants.O_RDONLY): number {
  const fd = openedSync(file, refuse, flags)
  const found = oddity(fstatSync(fd))
  if (found === null) return fd
  closeSync(fd)
  throw refuse(found)
}

function openedSync(file: string, refuse: Refuse, flags: number): number {
  try {
    return openSync(file, flags | PLAIN)
  } catch (error) {
    return refusing(refuse)(error)
  }
}

/** Opens a file that the user named, who may name a link, or a pipe of the shell. */
export async function openInput(file: string, refuse: Refuse = unfit(file)): Promise<FileHandle> {
  if (OWN_STREAM.test(file)) return open(file, 'r')
  return (await opened(file, constants.O_RDONLY | constants.O_NONBLOCK, refuse))[0]
}

/** The bytes of a file in a folder that others can write to. Its size is looked at before it is read. */
export async function readPlain(file: string, { refuse = unfit(file), maxBytes }: PlainRead = {}): Promise<Buffer> {
  // A reader of a file that is replaced meanwhile may get ESTALE; the name stands for the new one then.
  return askAgain(async () => {
    const [handle, info] = await opened(file, constants.O_RDONLY | PLAIN, refuse)
    await using open = handle
    return await readOpened(open, info, refuse, maxBytes)
  })
}

export function readPlainSync(file: string, { refuse = unfit(file), maxBytes }: PlainRead = {}): Buffer {
  const fd = openPlainSync(file, refuse)
  try {
    const size = sizeOf(fstatSync(fd), refuse, maxBytes)
    let bytes: Buffer = Buffer.alloc(size + 1)
    let [done, got] = [0, 0]
    do {
      if (done === bytes.length) bytes = grown(bytes, refuse, maxBytes)
      got = readSync(fd, bytes, done, bytes.length - done, done)
      done += got
    } while (got !== 0 && done !== size)
    return bytes.subarray(0, done)
  } finally {
    closeSync(fd)
  }
}

/** The text of a file that the user named. A pipe of the shell is read to its end. */
export async function readInputText(file: string, { refuse = unfit(file), maxBytes }: PlainRead = {}): Promise<string> {
  await using handle = await openInput(file, refuse)
  if (OWN_STREAM.test(file)) return await handle.readFile('utf8')
  return (await readOpened(handle, await handle.stat(), refuse, maxBytes)).toString('utf8')
}

/** What a file that is no regular one is, in words; null for a regular one. */
function oddity(info: Stats): string | null {
  if (info.isFile()) return null
  if (info.isFIFO()) return 'a pipe'
  if (info.isDirectory()) return 'a folder'
  return info.isSocket() ? 'a socket' : 'a device'
}

async function opened(file: string, flags: number, refuse: Refuse): Promise<readonly [FileHandle, Stats]> {
  const handle = await open(file, flags).catch(refusing(refuse))
  try {
    const info = await handle.stat()
    const found = oddity(info)
    if (found !== null) throw refuse(found)
    return [handle, info]
  } catch (error) {
    await handle.close()
    throw error
  }
}

// One read is enough where the size is right. Where the cache of a network file system answered with a smaller one, the
// byte asked for beyond it shows that there is more.
async function readOpened(handle: FileHandle, info: Stats, refuse: Refuse, maxBytes?: number): Promise<Buffer> {
  const size = sizeOf(info, refuse, maxBytes)
  let bytes: Buffer = Buffer.alloc(size + 1)
  let [done, got] = [0, 0]
  do {
    if (done === bytes.length) bytes = grown(bytes, refuse, maxBytes)
    got = (await handle.read(bytes, done, bytes.length - done, done)).bytesRead
    done += got
  } while (got !== 0 && done !== size)
  return bytes.subarray(0, done)
}

function grown(bytes: Buffer, refuse: Refuse, maxBytes?: number): Buffer {
  sizeOf({ size: bytes.length }, refuse, maxBytes)
  return Buffer.concat([bytes], 2 * bytes.length)
}

function sizeOf({ size }: { readonly size: number }, refuse: Refuse, maxBytes = MAX_TEXT_BYTES): number {
  if (size > maxBytes) throw refuse(`${size} bytes, of which at most ${maxBytes} make sense here`)
  return size
}

const refusing =
  (refuse: Refuse) =>
  (error: unknown): never => {
    if (isErrno(error, 'ELOOP')) throw refuse('a symbolic link')
    // A pipe says so too where it would be written to, and nobody reads it.
    if (isErrno(error, 'ENXIO')) throw refuse('a socket, or a pipe')
    if (isErrno(error, 'EISDIR')) throw refuse('a folder')
    throw error
  }

const unfit =
  (file: string): Refuse =>
  (found) =>
    unavailable('this cannot be the file that draftbridge keeps here', { file, found, fix: REMOVE })
