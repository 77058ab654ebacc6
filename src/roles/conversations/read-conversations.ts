import { createHash, type Hash } from 'node:crypto'
import { type CodedError, finding } from '../../core/errors.ts'
import { type RunId, SampleId } from '../../core/ids.ts'
import { type Part, shareOf, takes } from '../../core/part.ts'
import { parseConversation } from './parse-conversation.ts'
import { type FileRecord, recordsOfFile } from './records-of-file.ts'

/** `json`: what capture.encode reads, `{ messages, tools? }` or `{ input_ids, loss_start }`. */
export interface NamedConversation {
  readonly kind: 'conversation'
  readonly sampleId: SampleId
  /** `file:line`, for messages. */
  readonly where: string
  /** Where it stands among all conversations and what is none, from 0. */
  readonly order: number
  readonly json: string
}

/** What was read of a record, whose place is known where it is read. */
type Read = Omit<NamedConversation, 'order'> | RefusedConversation

export interface RefusedConversation {
  readonly kind: 'refused'
  readonly error: CodedError<'FEATURE_INVALID'>
}

const FIELD = 'data.conversations'
const FIX = 'give each line `messages` (role, content), `conversations` (from, value), or `input_ids` and `loss_start`'

/** Ids that this program makes: no conversation may bring one, or it could take the place of another. */
const MADE = /^x-[0-9a-f]{24}(-\d+)?$|:turn-\d+$/

/** A conversation may become several samples, named by their turns. */
const LONGEST_TURN = ':turn-9999999'

export interface Reading {
  readonly runId: RunId
  /** At most so many conversations of the whole data set. */
  readonly limit: number | null
  /** Only its share is given. Null: all. */
  readonly part: Part | null
  /** Takes up all conversations, also those of other parts. */
  readonly hash?: Hash
}

/**
 * The conversations of files, in order, and what is none. All are read and named, also where only a part is given: so a
 * sample has the same id and the same place in every part. A sample has the id of its conversation. Where there is none, or one that a sample cannot have or another conversation had before, the id is made
 * of the content, so that it stays when other lines come or go.
 */
export async function* readConversations(
  files: readonly string[],
  { runId, limit, part, hash }: Reading,
): AsyncGenerator<NamedConversation | RefusedConversation> {
  let order = 0
  for await (const read of allConversations(files, runId, limit)) {
    if (read.kind === 'conversation') hash?.update(`${read.sampleId} ${read.json}\n`)
    if (takes(part, order)) yield read.kind === 'refused' ? read : { ...read, order }
    order += 1
  }
}

async function* allConversations(files: readonly string[], runId: RunId, limit: number | null): AsyncGenerator<Read> {
  const ids = new SampleIds(runId)
  let found = 0
  for (const file of files) {
    for await (const record of recordsOfFile(file)) {
      if (found === limit) return
      const read = conversationOf(record, ids)
      if (read.kind === 'conversation') found += 1
      yield read
    }
  }
}

/**
 * Reads all files once, before anything expensive begins. `total`: conversations, and what is none, of the part. The
 * SHA-256 digest is of all conversations and not of the files: it is the same for every part, and however they are packed.
 */
export async function surveyConversations(
  files: readonly string[],
  { part, ...reading }: Reading,
  onRefused: (error: CodedError<'FEATURE_INVALID'>) => void,
): Promise<{ readonly total: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  let all = 0
  for await (const item of readConversations(files, { ...reading, part: null, hash })) {
    if (item.kind === 'refused' && takes(part, all)) onRefused(item.error)
    all += 1
  }
  if (all === 0) throw invalid(files.join(', '), FIELD, 'no conversation', FIX)
  return { total: shareOf(part, all), sha256: hash.digest('hex') }
}

/**
 * As `readConversations`, after a survey that gave `sha256`.
 * @throws FEATURE_INVALID at the end when the files were others then.
 */
export async function* readSurveyed(
  files: readonly string[],
  reading: Reading,
  sha256: string,
): AsyncGenerator<NamedConversation | RefusedConversation> {
  const hash = createHash('sha256')
  yield* readConversations(files, { ...reading, hash })
  if (hash.digest('hex') === sha256) return
  throw finding('FEATURE_INVALID', 'the conversations have changed while they were read', {
    file: files.join(', '),
    field: FIELD,
    found: 'other conversations than at the start of this command',
    fix: 'let nothing write to the files meanwhile, and run the same command again',
  })
}

function conversationOf(record: FileRecord, ids: SampleIds): Read {
  const { where } = record
  if ('bad' in record) return { kind: 'refused', error: invalid(where, '(the whole line)', record.bad, FIX) }
  const parsed = parseConversation(record.value)
  if ('found' in parsed) {
    return { kind: 'refused', error: invalid(where, parsed.field, parsed.found, parsed.fix ?? FIX) }
  }
  const { id, json } = parsed
  return { kind: 'conversation', sampleId: ids.of(id, json), where, json }
}

class SampleIds {
  readonly #runId: RunId
  readonly #used = new Set<SampleId>()

  constructor(runId: RunId) {
    this.#runId = runId
  }

  of(id: string | null, json: string): SampleId {
    const given = id === null || MADE.test(id) ? null : SampleId.safeParse(`${this.#runId}:${id}`)
    const fits = given?.success === true && SampleId.safeParse(`${given.data}${LONGEST_TURN}`).success
    const sampleId = fits && !this.#used.has(given.data) ? given.data : this.#made(json)
    this.#used.add(sampleId)
    return sampleId
  }

  #made(json: string): SampleId {
    const made = `${this.#runId}:x-${createHash('sha256').update(json).digest('hex').slice(0, 24)}`
    let sampleId = SampleId.parse(made)
    // The same conversation again is a sample of its own.
    for (let time = 2; this.#used.has(sampleId); time += 1) sampleId = SampleId.parse(`${made}-${time}`)
    return sampleId
  }
}

const invalid = (file: string, field: string, found: string, fix: string): CodedError<'FEATURE_INVALID'> =>
  finding('FEATURE_INVALID', 'this is not a conversation that can be captured', { file, field, found, fix })
