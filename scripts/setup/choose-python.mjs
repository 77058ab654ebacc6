/** @import { PythonFacts, Probe } from './probe-python.mjs' */
/** @import { Missing } from './problem.mjs' */

export const OLDEST = [3, 10]
export const NEWEST = [3, 13]

/**
 * `explicit`: the user named it, so no other interpreter is tried.
 * @typedef {{ command: string, from: string, explicit: boolean }} Candidate
 */

/**
 * The interpreters to try, best first. The interpreter of an earlier set-up comes before those on PATH, so that a changed
 * PATH does not rebuild everything.
 * @param {{ flag?: string | undefined, env?: string | undefined, earlier?: string | undefined }} asked
 * @returns {Candidate[]}
 */
export function candidates({ flag, env, earlier }) {
  if (flag) return [{ command: flag, from: '--python', explicit: true }]
  if (env) return [{ command: env, from: 'DRAFTBRIDGE_PYTHON', explicit: true }]
  const implicit = [
    ...(earlier ? [{ command: earlier, from: 'the earlier set-up' }] : []),
    { command: 'python3', from: 'PATH' },
    { command: '/usr/bin/python3', from: 'the system' },
    ...['3.13', '3.12', '3.11', '3.10'].map((version) => ({ command: `python${version}`, from: 'PATH' })),
  ]
  return implicit.map((candidate) => ({ ...candidate, explicit: false }))
}

/**
 * The first candidate that the bridge can be built against, or why each candidate was rejected.
 * @param {readonly Candidate[]} list
 * @param {(command: string) => Probe} probe
 * @returns {{ ok: true, facts: PythonFacts, from: string } | { ok: false, missing: Missing }}
 */
export function choosePython(list, probe) {
  /** @type {{ candidate: Candidate, fault: Missing }[]} */
  const rejected = []
  for (const candidate of list) {
    const answer = probe(candidate.command)
    const fault = answer.ok ? faultOf(answer.facts, candidate.command) : absent(candidate, answer.reason)
    if (answer.ok && fault === null) return { ok: true, facts: answer.facts, from: candidate.from }
    if (fault !== null) rejected.push({ candidate, fault })
  }
  return { ok: false, missing: closestToWorking(rejected) }
}

/**
 * Why this interpreter cannot be embedded, or null.
 * @param {PythonFacts} facts
 * @param {string} command as the candidate was named; it decides which package is meant
 * @returns {Missing | null}
 */
export function faultOf(facts, command) {
  const { version, executable, implementation } = facts
  const name = `Python ${version} (${executable})`
  if (implementation !== 'CPython') {
    return { ...python(), found: `${executable} is ${implementation}; the bridge embeds CPython` }
  }
  if (!inRange(version)) {
    return { ...python(), found: `${name}; the pinned packages exist for ${OLDEST.join('.')} to ${NEWEST.join('.')}` }
  }
  const dev = packagesFor(facts, command)
  if (facts.headers === null) {
    return {
      what: 'the C headers of Python are missing',
      found: `${name}, but no Python.h in ${facts.include}`,
      ...dev,
    }
  }
  if (facts.headers !== version) {
    const found = `${name}, but the headers in ${facts.include} are those of ${facts.headers}`
    const fix = 'name an interpreter that has its own headers: --python PATH or DRAFTBRIDGE_PYTHON=PATH'
    return { what: 'Python and its headers are of different versions', found, fix }
  }
  if (facts.library === null) return noLibrary(facts, name, dev)
  if (!facts.venv) {
    return { what: 'Python cannot make virtual environments', found: `${name} without venv or ensurepip`, ...dev }
  }
  return null
}

/** @returns {Pick<Missing, 'what' | 'debian' | 'fedora' | 'fix'>} */
function python() {
  return {
    what: `no Python ${OLDEST.join('.')} to ${NEWEST.join('.')} that can be embedded`,
    debian: 'python3 python3-dev python3-venv',
    fedora: 'python3 python3-devel',
    fix: 'install one, or name one: --python PATH or DRAFTBRIDGE_PYTHON=PATH',
  }
}

/**
 * @param {PythonFacts} facts
 * @param {string} name
 * @param {Pick<Missing, 'debian' | 'fedora' | 'fix'>} dev
 * @returns {Missing}
 */
function noLibrary({ shared, libdir, ldversion, version }, name, dev) {
  const what = 'Python has no shared library to embed'
  if (shared) return { what, found: `${name}, but no libpython${ldversion}.so in ${libdir}`, ...dev }
  const fix = `build it with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install -f ${version})`
  return { what, found: `${name} was built without a shared libpython`, fix }
}

/**
 * A distribution's package only helps the distribution's own interpreter.
 * @param {PythonFacts} facts
 * @param {string} command
 * @returns {Pick<Missing, 'debian' | 'fedora' | 'fix'>}
 */
function packagesFor({ executable, version }, command) {
  if (!executable.startsWith('/usr/bin/')) return { fix: `reinstall it with its development files, or name another` }
  const minor = version.split('.').slice(0, 2).join('.')
  const stem = command.endsWith(minor) ? `python${minor}` : 'python3'
  return { debian: `${stem}-dev ${stem}-venv`, fedora: `${stem}-devel` }
}

/** @param {string} version */
function inRange(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major === OLDEST[0] && minor >= Number(OLDEST[1]) && minor <= Number(NEWEST[1])
}

/**
 * @param {Candidate} candidate
 * @param {string} reason
 * @returns {Missing | null} null when an implicit candidate does not exist, which is not worth reporting
 */
function absent({ command, from, explicit }, reason) {
  if (reason === 'not found' && !explicit) return null
  return { ...python(), found: explicit ? `${from} names ${command}: ${reason}` : `${command}: ${reason}` }
}

/**
 * Leads with the interpreter closest to working (a missing package beats a wrong version), and names the others.
 * @param {readonly { candidate: Candidate, fault: Missing }[]} rejected
 * @returns {Missing}
 */
function closestToWorking(rejected) {
  const best = rejected.find(({ fault }) => fault.what !== python().what) ?? rejected[0]
  if (best === undefined) return { ...python(), found: 'no python3 on PATH' }
  const others = rejected.filter((one) => one !== best && one.fault.found !== best.fault.found)
  const also = [...new Set(others.map(({ fault }) => `\n    also:  ${fault.found} (${fault.what})`))].join('')
  return { ...best.fault, found: best.fault.found + also }
}
