import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync } from 'node:fs'
import path from 'node:path'
import { noteProgram } from './orphans.mjs'
import { SetupProblem } from './problem.mjs'

const HEARTBEAT_MS = 20_000
const TAIL = 30

/** @param {string} line */
export function say(line) {
  process.stderr.write(`[setup] ${line}\n`)
}

/**
 * Announces a step, does it, and says how long it took.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(what, work) {
  const begun = performance.now()
  say(`${what} ...`)
  const value = await work()
  say(`${what}: done in ${seconds(begun)}`)
  return value
}

/** @param {number} begun a reading of performance.now() */
export function seconds(begun) {
  return `${((performance.now() - begun) / 1000).toFixed(1)} s`
}

// Variables that would redirect an installation, or make one interpreter read another's packages.
const FOREIGN = ['PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_USER', 'PIP_REQUIRE_VIRTUALENV']

/** @returns {NodeJS.ProcessEnv} */
function cleanEnvironment() {
  const env = { ...process.env }
  for (const name of FOREIGN) delete env[name]
  return { ...env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1' }
}

/**
 * Runs a program with its output in a log file. While it runs, its last line is shown every 20 seconds.
 * @param {string[]} command
 * @param {{ cwd: string, log: string, env?: NodeJS.ProcessEnv }} options `log` lies in the `log` folder of the state
 * @returns {Promise<string>} what it printed, both streams
 */
export async function run(command, { cwd, log, env }) {
  const [program = '', ...args] = command
  mkdirSync(path.dirname(log), { recursive: true })
  const sink = createWriteStream(log)
  const child = spawn(program, args, { cwd, env: { ...cleanEnvironment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = noteProgram(path.join(path.dirname(log), '../running'), child.pid)
  const forget = endWithSetup(child)
  let output = ''
  const begun = performance.now()
  const heartbeat = setInterval(() => say(`  ${seconds(begun)}  ${lastLine(output)}`), HEARTBEAT_MS)
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
      sink.write(text)
    })
  }
  try {
    const status = await statusOf(child)
    if (status !== 0) throw new SetupProblem(failure(command, status, output, log))
    return output
  } finally {
    ended()
    forget()
    clearInterval(heartbeat)
    sink.end()
  }
}

/**
 * Makes a signal to set-up also end the program that it runs. Otherwise that program would go on writing during the next
 * set-up.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {() => void} stops listening
 */
function endWithSetup(child) {
  const listeners = Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }).map(([signal, status]) => {
    const end = () => {
      child.kill('SIGTERM')
      process.exit(status)
    }
    process.once(signal, end)
    return () => process.removeListener(signal, end)
  })
  return () => {
    for (const stop of listeners) stop()
  }
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<number | string>} exit status, the signal's name, or why it did not start
 */
function statusOf(child) {
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'no status'))
  })
}

/**
 * @param {string[]} command
 * @param {number | string} status
 * @param {string} output
 * @param {string} log
 */
function failure(command, status, output, log) {
  const tail = output.trimEnd().split('\n').slice(-TAIL).join('\n')
  return `${command.join(' ')}\n  ended with ${status}; all of its output: ${log}\n${tail}`
}

/** @param {string} output */
function lastLine(output) {
  return (output.trimEnd().split('\n').at(-1) ?? '').trim().slice(0, 90)
}
