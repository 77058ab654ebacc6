import type { Random } from './random.ts'

/** One stored object, as it was put. */
export interface Target {
  readonly file: string
  readonly bytes: Buffer
  /** Offset at which the header's text ends and the padding begins, and offset of the data. */
  readonly text: number
  readonly data: number
  /** The object that this one replaced, which is gone from the store. */
  readonly stale: Buffer
  /** The file name it would have with the next generation. */
  readonly laterFile: string
}

/** The bytes to write, by file. */
export type Damage = ReadonlyMap<string, Buffer>
type Kind = (random: Random, target: Target, other: Target) => Damage

const only = ({ file }: Target, bytes: Buffer): Damage => new Map([[file, bytes]])
const between = (random: Random, from: number, to: number): number => from + random.below(Math.max(1, to - from))

function flipped({ bytes }: Pick<Target, 'bytes'>, at: number, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ (1 << bit)
  return copy
}

const flipIn =
  (range: (target: Target) => readonly [number, number]): Kind =>
  (random, target) =>
    only(target, flipped(target, between(random, ...range(target)), random.below(8)))

const zeroed = ({ bytes }: Target, from: number, length: number): Buffer =>
  Buffer.from(bytes).fill(0, from, Math.min(bytes.length, from + length))

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)))
}

/** Kinds of damage to an object file. `other` has tensors of the same names, dtypes and shapes. */
export const objectKinds: Readonly<Record<string, Kind>> = {
  'bit flip in the header length': flipIn(() => [0, 8]),
  'bit flip in the header': flipIn(({ text }) => [8, text]),
  'bit flip in the padding': flipIn(({ text, data }) => [text, data]),
  'bit flip in a tensor': flipIn(({ data, bytes }) => [data, bytes.length]),
  'cut short': (random, target) => only(target, target.bytes.subarray(0, random.below(target.bytes.length))),
  'grown longer': (random, target) =>
    only(target, Buffer.concat([target.bytes, noise(random, 1 + random.below(5000))])),
  'a page of zeros': (random, target) =>
    only(target, zeroed(target, 4096 * random.below(Math.ceil(target.bytes.length / 4096)), 4096)),
  'a sector of zeros': (random, target) =>
    only(target, zeroed(target, 512 * random.below(Math.ceil(target.bytes.length / 512)), 512)),
  'two objects swapped': (_, target, other) =>
    new Map([
      [target.file, other.bytes],
      [other.file, target.bytes],
    ]),
  'an older put in the place of a newer one': (_, target) => only(target, target.stale),
  'an object under a later generation': (_, { laterFile, bytes }) => new Map([[laterFile, bytes]]),
  'tensor bytes of another object': (_, target, other) =>
    only(target, Buffer.concat([target.bytes.subarray(0, target.data), other.bytes.subarray(other.data)])),
  'header of another object': (_, target, other) =>
    only(target, Buffer.concat([other.bytes.subarray(0, other.data), target.bytes.subarray(target.data)])),
  'a stretch of noise': (random, target) => {
    const copy = Buffer.from(target.bytes)
    noise(random, 1 + random.below(200)).copy(copy, random.below(copy.length))
    return only(target, copy)
  },
}

/** The files of a manifest, and what each holds. */
export interface ManifestFiles {
  readonly root: string
  readonly segments: readonly string[]
  readonly bytes: ReadonlyMap<string, Buffer>
}
type ManifestKind = (random: Random, files: ManifestFiles) => Damage

const content = ({ bytes }: ManifestFiles, file: string): Buffer => bytes.get(file) ?? Buffer.alloc(0)

/** Kinds of damage to a manifest. */
export const manifestKinds: Readonly<Record<string, ManifestKind>> = {
  'bit flip in a segment': (random, files) => {
    const file = random.of(files.segments)
    const bytes = content(files, file)
    return new Map([[file, flipped({ bytes }, random.below(bytes.length), random.below(8))]])
  },
  'digit changed in a line': (random, files) => {
    const file = random.of(files.segments)
    const bytes = Buffer.from(content(files, file))
    const digits = [...bytes.keys()].filter((at) => /[0-9]/.test(String.fromCharCode(bytes[at] ?? 0)))
    const at = random.of(digits)
    bytes[at] = 0x30 + (((((bytes[at] ?? 0) - 0x30 + 1 + random.below(9)) % 10) + 10) % 10)
    return new Map([[file, bytes]])
  },
  'segment cut short': (random, files) => {
    const file = random.of(files.segments)
    const bytes = content(files, file)
    return new Map([[file, bytes.subarray(0, random.below(bytes.length))]])
  },
  'segments swapped': (_, files) => {
    const [one = '', other = ''] = files.segments
    return new Map([
      [one, content(files, other)],
      [other, content(files, one)],
    ])
  },
  'bit flip in the root': (random, files) => {
    const bytes = content(files, files.root)
    return new Map([[files.root, flipped({ bytes }, random.below(bytes.length), random.below(8))]])
  },
  'root cut short': (random, files) => {
    const bytes = content(files, files.root)
    return new Map([[files.root, bytes.subarray(0, random.below(bytes.length))]])
  },
}
