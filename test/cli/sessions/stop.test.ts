import { spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'

const checkout = fileURLToPath(new URL('../../..', import.meta.url))
const stopModule = pathToFileURL(`${checkout}src/cli/sessions/stop.ts`).href

/** A process that listens, prints the request to stop, and ends by itself only when `obeys`. */
function listener(obeys: boolean, embedsPython: boolean) {
  const program = `
    const { listenForStop } = await import('${stopModule}')
    const stop = listenForStop(() => undefined)
    stop.embedsPython = ${embedsPython}
    const alive = setInterval(() => undefined, 1000)
    stop.signal.addEventListener('abort', () => {
      console.log('asked: ' + stop.signal.reason)
      if (${obeys}) clearInterval(alive)
    })
    console.log('ready')`
  const args = ['--import', 'tsx', '--input-type=module', '-e', program]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] })
  return { child, lines: child.stdout.setEncoding('utf8') }
}

async function stopped(signals: readonly NodeJS.Signals[], obeys: boolean, embedsPython = false) {
  const { child, lines } = listener(obeys, embedsPython)
  const left = [...signals]
  let printed = ''
  lines.on('data', (chunk) => {
    printed += chunk
    const next = left.shift()
    if (next !== undefined) child.kill(next)
  })
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, printed })))
}

describe('signals', () => {
  it('the first one asks for a safe stop, with its name as the reason', async () => {
    expect(await stopped(['SIGTERM'], true)).toEqual({ code: 0, signal: null, printed: 'ready\nasked: SIGTERM\n' })
  })

  it('the second one ends the process at once, with its exit status', async () => {
    expect(await stopped(['SIGINT', 'SIGINT'], false)).toMatchObject({ code: 130, signal: null })
    expect(await stopped(['SIGINT', 'SIGTERM'], false)).toMatchObject({ code: 143, signal: null })
  })

  it('the second one does not wait for a Python call', async () => {
    expect(await stopped(['SIGINT', 'SIGINT'], false, true)).toMatchObject({ code: null, signal: 'SIGKILL' })
  })
})
