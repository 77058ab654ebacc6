import { execFileSync } from 'node:child_process'
import { open, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { readConfigSource } from '../../src/config/source.ts'
import { systemClock } from '../../src/core/clock.ts'
import { architectureOf } from '../../src/drafts/registry.ts'
import { EventsFile, readEvents } from '../../src/report/events/events-file.ts'
import { linesOfFile } from '../../src/roles/conversations/lines-of-file.ts'
import { rejectSpecForge } from '../../src/roles/maintain/convert-manifest.ts'
import { readDraftConfig } from '../../src/roles/train/draft-config-file.ts'
import { plantings } from '../support/planted.ts'
import { tempDir } from '../support/temp-dir.ts'

async function lines(file: string): Promise<string[]> {
  const found: string[] = []
  for await (const line of linesOfFile(file, 'data.conversations', 'FEATURE_INVALID'))
    found.push('text' in line ? line.text : line.bad)
  return found
}

describe('an input that the user named', () => {
  it('and that is a pipe with a name is refused by all who read one', async () => {
    const file = path.join(await tempDir(), 'input.jsonl')
    execFileSync('mkfifo', [file])
    const named = (code: string) => ({ code, details: { file, found: 'a pipe' } })
    await expect(lines(file)).rejects.toMatchObject(named('FEATURE_INVALID'))
    await expect(readConfigSource(file)).rejects.toMatchObject(named('CONFIG_INVALID'))
    await expect(readDraftConfig(file, architectureOf('eagle3'))).rejects.toMatchObject(named('CONFIG_INVALID'))
    await expect(rejectSpecForge(file)).rejects.toMatchObject(named('MANIFEST_INVALID'))
  })

  it('may be a link, or what the shell gives in its place', async () => {
    const dir = await tempDir()
    const [file, other] = [path.join(dir, 'file'), path.join(dir, 'link')]
    await writeFile(file, 'one\n\ntwo\n')
    await symlink(file, other)
    const handle = await open(file, 'r')
    for (const name of [file, other, `/proc/self/fd/${handle.fd}`]) expect(await lines(name)).toEqual(['one', 'two'])
    await handle.close()
  })
})

describe.each(Object.entries(plantings))('%s', (_, { plant, found }) => {
  it('in place of the events of a run is refused, by the writer and by the reader', async () => {
    const dir = await tempDir()
    const file = path.join(dir, 'events.ndjson')
    const write = () => new EventsFile({ dir, runId: 'run', clock: systemClock })[Symbol.dispose]()
    write()
    await rm(file)
    await using _planted = await plant(file)
    expect(write).toThrow(found)
    await expect(readEvents(dir)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})
