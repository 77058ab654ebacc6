import { execFileSync, spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { tempDir } from '../../support/temp-dir.ts'

const checkout = fileURLToPath(new URL('../../..', import.meta.url))
const stopModule = pathToFileURL(`${checkout}src/cli/sessions/stop.ts`).href

let pipe = ''
beforeAll(async () => {
  pipe = path.join(await tempDir(), 'pipe')
  execFileSync('mkfifo', [pipe])
})

/** What the process does once it is asked to stop. */
const works = {
  obeys: () => 'clearInterval(alive)',
  'does not hear': () => '',
  'waits for ever in threads of the pool': () => `for (let n = 0; n < 8; n += 1) fs.open('${pipe}', 'r', () => 0)`,
  'waits for ever in its main thread': () => `fs.openSync('${pipe}', 'r')`,
  'waits for ever while it exits': () => `fs.open('${pipe}', 'r', () => 0); stop[Symbol.dispose](); process.exit(7)`,
} as const

async function stopped(signals: readonly NodeJS.Signals[], work: keyof typeof works) {
  const program = `
    const fs = await import('node:fs')
    const { listenForStop } = await import('${stopModule}')
    const stop = listenForStop(() => undefined)
    const alive = setInterval(() => undefined, 1000)
    stop.signal.addEventListener('abort', () => {
      console.log('asked: ' + stop.signal.reason)
      ${works[work]()}
    })
    console.log('ready')`
  const args = ['--import', 'tsx', '--input-type=module', '-e', program]
  // A shell, because exit statuses are what it makes of them.
  const script = '"$@" & child=$!; echo "pid: $child"; wait $child; echo "status: $?"'
  const shell = spawn('bash', ['-mc', script, 'bash', process.execPath, ...args], { cwd: checkout })
  const left = [...signals]
  let printed = ''
  shell.stdout.setEncoding('utf8').on('data', (chunk) => {
    printed += chunk
    const child = Number(/pid: (\d+)/.exec(printed)?.[1])
    const asked = /ready|asked/.exec(chunk) === null ? undefined : left.shift()
    if (asked !== undefined) process.kill(child, asked)
  })
  await new Promise((resolve) => shell.on('close', resolve))
  return printed
    .replace(/pid: \d+\n/, '')
    .trim()
    .split('\n')
}

describe('signals', () => {
  it('the first one asks for a safe stop, with its name as the reason', async () => {
    expect(await stopped(['SIGTERM'], 'obeys')).toEqual(['ready', 'asked: SIGTERM', 'status: 0'])
  })

  it.each(Object.keys(works).slice(1) as (keyof typeof works)[])(
    'the second one ends a process that %s',
    async (work) => {
      expect(await stopped(['SIGINT', 'SIGINT'], work)).toEqual(['ready', 'asked: SIGINT', 'status: 130'])
      expect(await stopped(['SIGINT', 'SIGTERM'], work)).toEqual(['ready', 'asked: SIGINT', 'status: 143'])
    },
  )
})
