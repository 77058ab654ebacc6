import { describe, expect, it } from 'vitest'
import { beatText, ownNote } from '../../../src/core/liveness/holder-note.ts'
import { clearWitness, describeVerdict, SILENT_MS, Watch } from '../../../src/core/liveness/watch.ts'
import { Witness, witnessState } from '../../../src/core/liveness/witness.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'

const noteAt = (beat: number, witness: string | null = null) =>
  JSON.stringify({ ...ownNote({ witness }), beat: beatText(beat) })

/** A watch over one holder whose beats and time the test moves. */
function watched() {
  const time = new FakeMonotonic()
  const watch = new Watch({ time })
  const holder = { text: noteAt(1) as string | null }
  const look = () => watch.look('holder', async () => holder.text)
  return { time, watch, holder, look }
}

describe('a holder that cannot be seen from here', () => {
  it('is never dead at first sight, and dead once its counter was watched to stand still', async () => {
    const { time, look } = watched()
    expect(await look()).toEqual({ state: 'unknown', watchedMs: 0, leftMs: SILENT_MS })
    time.advance(SILENT_MS - 1)
    expect(await look()).toEqual({ state: 'unknown', watchedMs: SILENT_MS - 1, leftMs: 1 })
    time.advance(1)
    expect(await look()).toEqual({ state: 'dead' })
    expect(await look()).toEqual({ state: 'dead' })
  })

  it('lives once its counter has moved, and the silence begins anew with each beat', async () => {
    const { time, holder, look } = watched()
    await look()
    time.advance(SILENT_MS - 1)
    holder.text = noteAt(2)
    expect(await look()).toEqual({ state: 'living' })
    time.advance(SILENT_MS - 1)
    expect(await look()).toEqual({ state: 'living' })
    time.advance(1)
    expect(await look()).toEqual({ state: 'dead' })
    holder.text = noteAt(3)
    expect(await look()).toEqual({ state: 'living' })
  })

  it('is dead without a note', async () => {
    const { holder, look } = watched()
    holder.text = null
    expect(await look()).toEqual({ state: 'dead' })
  })

  it('is not accused of the time that a read took', async () => {
    const { time, watch } = watched()
    const slow = () =>
      watch.look('holder', async () => {
        time.advance(SILENT_MS)
        return noteAt(1)
      })
    expect((await slow()).state).toBe('unknown')
    // The second read began right after the first one ended.
    expect(await slow()).toEqual({ state: 'unknown', watchedMs: 0, leftMs: SILENT_MS })
  })

  it('is not dead when the mount stood still for both, and dead in its time after that', async () => {
    const { time, watch, look } = watched()
    await look()
    time.advance(1000)
    const heldUp = watch.look('holder', async () => {
      time.advance(90_000)
      return noteAt(1)
    })
    expect(await heldUp).toEqual({ state: 'unknown', watchedMs: 0, leftMs: SILENT_MS })
    time.advance(SILENT_MS - 1)
    expect((await look()).state).toBe('unknown')
    time.advance(1)
    expect((await look()).state).toBe('dead')
  })

  it('is watched by its text when the note is no note', async () => {
    const { time, holder, look } = watched()
    holder.text = 'what is this'
    expect((await look()).state).toBe('unknown')
    time.advance(SILENT_MS)
    expect((await look()).state).toBe('dead')
  })

  it('that has our own host name, pid and pid namespace is neither us nor dead', async () => {
    const { holder, look } = watched()
    holder.text = noteAt(1, 'ab'.repeat(16))
    expect((await look()).state).toBe('unknown')
  })
})

describe('a holder on the same machine', () => {
  it('is seen to live and, at once, to be dead', async (context) => {
    const { time, holder, look } = watched()
    const witness = await Witness.open()
    if (witness === null) return context.skip('this machine has no /dev/shm in memory')
    await using _ = witness
    holder.text = noteAt(1, witness.token)
    time.advance(10 * SILENT_MS)
    expect(await look()).toEqual({ state: 'living' })
    time.advance(10 * SILENT_MS)
    expect(await look()).toEqual({ state: 'living' })
  })

  it('in another container is watched by its heartbeat, though its witness can be seen', async (context) => {
    const { holder, look } = watched()
    const witness = await Witness.open()
    if (witness === null) return context.skip('this machine has no /dev/shm in memory')
    await using _ = witness
    holder.text = JSON.stringify({ ...ownNote({ witness: witness.token }), pidNs: 'pid:[1]' })
    expect((await look()).state).toBe('unknown')
    clearWitness(holder.text)
    expect(await witnessState(witness.token)).toBe('open')
  })
})

describe('settling', () => {
  it('watches all together and ends when each is known', async () => {
    const { time, watch } = watched()
    let beats = 0
    const notes: Record<string, () => string | null> = {
      gone: () => null,
      silent: () => noteAt(7),
      alive: () => noteAt(time.now() > 9000 ? ++beats : 0),
    }
    const look = (id: string) => watch.look(id, async () => notes[id]?.() ?? null)
    const waits: { holders: readonly string[]; leftMs: number }[] = []
    await watch.settle(Object.keys(notes), look, { onWait: (waiting) => waits.push(waiting) })
    expect(time.now()).toBe(SILENT_MS)
    expect(waits[0]).toEqual({ holders: ['silent', 'alive'], leftMs: SILENT_MS })
    expect(waits.at(-1)).toEqual({ holders: ['silent'], leftMs: 1000 })
    expect((await look('silent')).state).toBe('dead')
    expect((await look('alive')).state).toBe('living')
  })

  it('ends when it is aborted', async () => {
    const { watch, look } = watched()
    const stop = new AbortController()
    const onWait = () => stop.abort('SIGINT')
    await expect(watch.settle(['holder'], look, { signal: stop.signal, onWait })).rejects.toBe('SIGINT')
  })

  it('does not wait for what a first look has told', async () => {
    const { time, watch, holder, look } = watched()
    holder.text = null
    await watch.settle(['holder'], look)
    expect(time.now()).toBe(0)
  })
})

it('says what was watched, and for how long it still has to', () => {
  const text = describeVerdict({ state: 'unknown', watchedMs: 11_400, leftMs: 48_600 })
  expect(text).toContain('not moved for the 12 s')
  expect(text).toContain('after 49 s more')
  expect(describeVerdict({ state: 'living' })).toBe('it is alive')
})
