import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ClaimFiles } from '../../../src/core/liveness/claim-files.ts'
import { claimFolder } from '../../../src/core/liveness/folder-claim.ts'
import { BEAT_MS } from '../../../src/core/liveness/heartbeat.ts'
import { beatText, ownNote } from '../../../src/core/liveness/holder-note.ts'
import { SILENT_MS, Watch } from '../../../src/core/liveness/watch.ts'
import { FakeMonotonic } from '../../support/fake-monotonic.ts'
import { tempDir } from '../../support/temp-dir.ts'

const OTHER = '00000000-0000-4000-8000-000000000000'

/** A claim whose holder runs where nobody here can see it. */
async function heldElsewhere(dir: string, work = 'train', memberId?: string) {
  const files = new ClaimFiles(dir, work)
  const note = ownNote({ witness: null, ...(memberId === undefined ? {} : { memberId }) })
  const text = (beat: number) => JSON.stringify({ ...note, host: 'elsewhere', pid: 1, beat: beatText(beat) })
  await files.prepare(OTHER, text(0))
  await files.create({ epoch: 1, id: OTHER })
  return { files, beat: (count: number) => files.rewriteNote(OTHER, text(count)) }
}

function timed() {
  const time = new FakeMonotonic()
  return { time, watch: new Watch({ time }) }
}

describe('a claim on a folder', () => {
  it('is given to one at a time, and names its holder to the other', async () => {
    const dir = await tempDir()
    await using claim = await claimFolder(dir, 'train')
    const found = expect.stringContaining(`process ${process.pid}`)
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY', details: { found } })
    await claim.assertHeld()
  })

  it('of another kind of work stands beside it', async () => {
    const dir = await tempDir()
    await using _train = await claimFolder(dir, 'train')
    await using _produce = await claimFolder(dir, 'produce')
  })

  it('leaves nothing behind when it is given back', async () => {
    const dir = await tempDir()
    await (await claimFolder(dir, 'train'))[Symbol.asyncDispose]()
    expect(await readdir(dir)).toEqual([])
    await using _again = await claimFolder(dir, 'train')
  })

  it('leaves nothing behind when it is refused', async () => {
    const dir = await tempDir()
    await using _claim = await claimFolder(dir, 'train')
    const before = await readdir(dir)
    await expect(claimFolder(dir, 'train')).rejects.toThrow()
    expect(await readdir(dir)).toEqual(before)
  })

  it('of a process that was killed is taken over at once, by one of many, as the next epoch', async () => {
    const dir = await tempDir()
    const url = new URL('../../../src/core/liveness/folder-claim.ts', import.meta.url).href
    const code = `const { claimFolder } = await import('${url}'); await claimFolder(${JSON.stringify(dir)}, 'train'); console.log('held'); setInterval(() => {}, 1e6)`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code])
    await once(child.stdout, 'data')
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => claimFolder(dir, 'train')))
    const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(won.map(({ epoch }) => epoch)).toEqual([2])
    for (const claim of won) await claim[Symbol.asyncDispose]()
    expect(await readdir(dir)).toEqual([])
  })

  it('with nothing that says who has it is taken over', async () => {
    const dir = await tempDir()
    await mkdir(path.join(dir, '.train.claim'))
    await writeFile(path.join(dir, '.train.claim', 'somebody'), '')
    await using claim = await claimFolder(dir, 'train')
    expect(claim.epoch).toBe(1)
  })
})

describe('a claim whose holder cannot be seen from here', () => {
  it('is refused at first sight, and says what was watched', async () => {
    const dir = await tempDir()
    await heldElsewhere(dir)
    const found = expect.stringMatching(/process 1 on elsewhere; .* after 30 s more/)
    const { watch } = timed()
    await expect(claimFolder(dir, 'train', { watch })).rejects.toMatchObject({ code: 'STORE_BUSY', details: { found } })
  })

  it('is taken over by a later try, when its counter has stood still in between', async () => {
    const dir = await tempDir()
    const { beat } = await heldElsewhere(dir)
    const { time, watch } = timed()
    const busy = { code: 'STORE_BUSY' }
    await expect(claimFolder(dir, 'train', { watch })).rejects.toMatchObject(busy)
    await beat(1)
    time.advance(SILENT_MS)
    await expect(claimFolder(dir, 'train', { watch })).rejects.toMatchObject(busy)
    time.advance(SILENT_MS)
    await using claim = await claimFolder(dir, 'train', { watch })
    expect(claim.epoch).toBe(2)
  })

  it('is watched, on request, until it is known to be dead', async () => {
    const dir = await tempDir()
    await heldElsewhere(dir)
    const { time, watch } = timed()
    const left: number[] = []
    const onWait = ({ leftMs }: { leftMs: number }) => left.push(leftMs)
    await using _claim = await claimFolder(dir, 'train', { watch, wait: { onWait } })
    expect([time.now(), left[0], left.length]).toEqual([SILENT_MS, SILENT_MS, SILENT_MS / 1000])
  })

  it('is watched, on request, no longer than to its next beat', async () => {
    const dir = await tempDir()
    const { beat } = await heldElsewhere(dir)
    const { time, watch } = timed()
    const beats = time.every(BEAT_MS, () => void beat(1 + time.now() / BEAT_MS))
    const claim = claimFolder(dir, 'train', { watch, wait: {} })
    await expect(claim).rejects.toMatchObject({ details: { found: expect.stringContaining('it is alive') } })
    beats.stop()
    expect(time.now()).toBeLessThan(3 * BEAT_MS)
  })

  it('stays as it is when the watching is aborted', async () => {
    const dir = await tempDir()
    await heldElsewhere(dir)
    const before = await readdir(dir, { recursive: true })
    const stop = new AbortController()
    const wait = { signal: stop.signal, onWait: () => stop.abort('SIGINT') }
    await expect(claimFolder(dir, 'train', { watch: timed().watch, wait })).rejects.toBe('SIGINT')
    expect(await readdir(dir, { recursive: true })).toEqual(before)
  })
})

describe('a holder that was taken for dead', () => {
  it('is fenced with its member of the store, before its place is taken', async () => {
    const dir = await tempDir()
    const { files } = await heldElsewhere(dir, 'produce', 'm0123456789abcdef')
    const { time, watch } = timed()
    await watch.look(OTHER, () => files.note(OTHER))
    time.advance(SILENT_MS)
    const there: unknown[] = []
    const fence = async (memberId: string) => there.push(memberId, await files.holder())
    await using _claim = await claimFolder(dir, 'produce', { fence: async (id) => void (await fence(id)), watch })
    expect(there).toEqual(['m0123456789abcdef', { epoch: 1, id: OTHER }])
  })

  it('learns it before its next effect, publishes nothing, and leaves its successor alone', async () => {
    const dir = await tempDir()
    const first = await claimFolder(dir, 'train')
    await first.publishing.publish('a', path.join(dir, 'a'), 'mine')
    await first.assertHeld()
    const files = new ClaimFiles(dir, 'train')
    await files.fence((await files.holder())?.id ?? '')
    await using second = await claimFolder(dir, 'train')
    const found = expect.stringMatching(/has taken over as epoch 2; the claim of this process was epoch 1/)
    await expect(first.assertHeld()).rejects.toMatchObject({ code: 'STORE_BUSY', details: { found } })
    await expect(first.publishing.publish('a', path.join(dir, 'a'), 'late')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await readFile(path.join(dir, 'a'), 'utf8')).toBe('mine')
    await first[Symbol.asyncDispose]()
    await second.assertHeld()
    await expect(claimFolder(dir, 'train')).rejects.toMatchObject({ code: 'STORE_BUSY' })
  })
})

it('writes through no link that was planted for its note', async () => {
  const dir = await tempDir()
  await using claim = await claimFolder(dir, 'train')
  const note = claim.publishing.file('holder.json')
  await writeFile(path.join(dir, 'precious'), 'precious')
  await rm(note)
  await symlink(path.join(dir, 'precious'), note)
  await expect(claim.assertHeld()).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    details: { file: note, found: 'a symbolic link' },
  })
  expect(await readFile(path.join(dir, 'precious'), 'utf8')).toBe('precious')
})
