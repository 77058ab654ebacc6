import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** @import { Missing } from './problem.mjs' */

export const OLDEST_NODE = 20

/**
 * @param {string} version `process.version`
 * @returns {Missing | null}
 */
export function nodeFault(version) {
  if (Number(/^v(\d+)/.exec(version)?.[1]) >= OLDEST_NODE) return null
  return {
    what: `Node is too old: ${OLDEST_NODE} or newer is needed`,
    found: `Node ${version} (${process.execPath})`,
    fix: 'install Node from nodejs.org, or with nvm or fnm; the packages of older distributions are too old',
  }
}

/**
 * The C++ compiler, as words of a command line (`CXX` may hold more than one).
 * @param {string | undefined} cxx
 * @param {(program: string) => boolean} runs
 * @returns {{ ok: true, command: string[] } | { ok: false, missing: Missing }}
 */
export function findCompiler(cxx, runs) {
  const wanted = (cxx ?? '').split(/\s+/).filter((word) => word !== '')
  const tried = wanted.length > 0 ? [wanted] : [['g++'], ['clang++'], ['c++']]
  for (const command of tried) if (command[0] !== undefined && runs(command[0])) return { ok: true, command }
  const found = wanted.length > 0 ? `CXX=${cxx}, which does not run` : 'none of g++, clang++, c++ on PATH'
  return { ok: false, missing: { what: 'no C++ compiler', found, debian: 'g++', fedora: 'gcc-c++' } }
}

/** @param {string} program */
export function runs(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore', timeout: 30_000 }).status === 0
}

/**
 * Headers of the running Node: beside the program itself, else in the folder that the user named. The interface that the
 * bridge uses is stable within a major version.
 * @param {{ execPath: string, version: string, nodedir?: string | undefined }} node
 * @param {(folder: string) => string | null} versionIn major version of the headers in a folder
 * @returns {{ include: string | null, seen: string[] }}
 */
export function findNodeHeaders({ execPath, version, nodedir }, versionIn) {
  const prefixes = [path.resolve(path.dirname(execPath), '..'), ...(nodedir ? [nodedir] : [])]
  const major = /^v(\d+)/.exec(version)?.[1] ?? ''
  const seen = []
  for (const prefix of prefixes) {
    const include = path.join(prefix, 'include/node')
    const found = versionIn(include)
    if (found === major) return { include, seen }
    seen.push(found === null ? `${include}: no headers` : `${include}: headers of Node ${found}`)
  }
  return { include: null, seen }
}

/** @param {string} include */
export function headerVersion(include) {
  const file = path.join(include, 'node_version.h')
  if (!existsSync(file) || !existsSync(path.join(include, 'node_api.h'))) return null
  return /#define NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(file, 'utf8'))?.[1] ?? null
}

/**
 * The npm that started set-up, else the npm beside the running Node, else the npm on PATH.
 * @param {string | undefined} execpath npm's own npm_execpath
 * @returns {string[]}
 */
export function npmCommand(execpath) {
  if (execpath?.endsWith('npm-cli.js') && existsSync(execpath)) return [process.execPath, execpath]
  const beside = path.join(path.dirname(process.execPath), 'npm')
  return [existsSync(beside) ? beside : 'npm']
}
