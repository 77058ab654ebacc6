import { expect, it } from 'vitest'
import { SampleId } from '../../../src/core/ids.ts'
import { type Lines, PendingLines, without } from '../../../src/refs/lines/lines.ts'
import { inSegments } from '../../../src/refs/write/segment-run.ts'

const idOf = (name: string | number) => SampleId.parse(`s:${name}`)

/** Id and text of each line. */
const linesOf = ({ ids, bytes, ends }: Lines): [string, string][] =>
  ids.map((id, line) => [id, bytes.toString('utf8', line === 0 ? 0 : ends[line - 1], ends[line])])

function pendingOf(texts: Readonly<Record<string, string>>): PendingLines {
  const pending = new PendingLines()
  for (const [name, text] of Object.entries(texts)) pending.add(idOf(name), text)
  return pending
}

it('keeps lines in order, of any length and in any script', () => {
  const long = 'x'.repeat(3_000_000)
  const sealed = pendingOf({ a: 'one', b: 'ä 漢字 😀', c: long, d: '' }).seal()
  expect(sealed.flatMap(linesOf)).toEqual([
    ['s:a', 'one\n'],
    ['s:b', 'ä 漢字 😀\n'],
    ['s:c', `${long}\n`],
    ['s:d', '\n'],
  ])
})

it('what is added after it was sealed is not in it, and stays when it is dropped', () => {
  const pending = pendingOf({ a: 'one' })
  const sealed = pending.seal()
  pending.add(idOf('b'), 'two')
  pending.drop([])
  expect(sealed.flatMap(linesOf)).toEqual([['s:a', 'one\n']])
  expect([pending.has(idOf('a')), pending.has(idOf('b'))]).toEqual([true, true])
  pending.drop(sealed)
  // Memory that is used again must not be that of lines that still wait.
  pending.seal()
  pending.add(idOf('c'), 'three')
  expect(pending.has(idOf('a'))).toBe(false)
  expect(pending.seal().flatMap(linesOf)).toEqual([
    ['s:b', 'two\n'],
    ['s:c', 'three\n'],
  ])
})

it('leaves out those that are gone', () => {
  const [lines] = pendingOf({ a: 'one', b: 'two', c: 'three' }).seal()
  if (lines === undefined) throw new Error('nothing pending')
  expect(linesOf(without(lines, new Set([idOf('b')])))).toEqual([
    ['s:a', 'one\n'],
    ['s:c', 'three\n'],
  ])
})

it('cuts segments at whole lines, and gives a line that is too long one of its own', () => {
  const texts = Object.fromEntries(Array.from({ length: 9 }, (_, at) => [at, String(at).repeat(1_000_000)]))
  const long = 'y'.repeat(5_000_000)
  const segments = [...inSegments(pendingOf({ ...texts, long, last: 'z' }).seal())].map(({ ids }) => ids.length)
  expect(segments).toEqual([4, 4, 1, 1, 1])
  const [first] = inSegments(pendingOf({ a: 'one', b: 'two' }).seal())
  expect([first?.ids, first?.content.toString()]).toEqual([['s:a', 's:b'], 'one\ntwo\n'])
  expect([...inSegments([])]).toEqual([])
})
