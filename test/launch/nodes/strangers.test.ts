import { readFile, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { JobHead } from '../../../src/launch/nodes/job-head.ts'
import { joinJob } from '../../../src/launch/nodes/job-member.ts'
import { JobNote } from '../../../src/launch/nodes/job-message.ts'
import { JOB_NOTE } from '../../../src/launch/nodes/job-note.ts'
import { tempDir } from '../../support/temp-dir.ts'

const both = { settings: {}, timeoutSeconds: 20, signal: new AbortController().signal }

async function headIn(dir: string): Promise<JobHead> {
  const head = await JobHead.open({ ...both, dir, host: 'first', nodes: 2, addresses: ['127.0.0.1'] })
  onTestFinished(() => head[Symbol.asyncDispose]())
  return head
}

it('the note can be read by its owner only', async () => {
  const dir = await tempDir()
  await headIn(dir)
  expect((await stat(path.join(dir, JOB_NOTE))).mode & 0o777).toBe(0o600)
})

it('a stranger that sends a long line before it has proved who it is is turned away', async () => {
  const dir = await tempDir()
  const head = await headIn(dir)
  const { port } = JobNote.parse(JSON.parse(await readFile(path.join(dir, JOB_NOTE), 'utf8')))
  const stranger = connect({ host: '127.0.0.1', port })
  const closed = new Promise((resolve) => stranger.on('close', resolve))
  stranger.on('error', () => undefined)
  stranger.write('x'.repeat(100_000))
  await closed
  const joined = joinJob({ ...both, dir, node: 1, host: 'second', ranks: 1 })
  expect(await head.meet()).toHaveLength(1)
  const plan = { firstRank: 1, worldSize: 2, masterAddr: '127.0.0.1', masterPort: 29_500, resumeFrom: null }
  head.start([plan])
  expect((await joined).plan).toEqual(plan)
})
