import { spawnSync } from 'node:child_process'

/**
 * What an interpreter reports about itself. A shim, a symlink or an active virtual environment all answer with the
 * installation behind them, so two names of one installation give equal facts.
 * @typedef {object} PythonFacts
 * @property {string} executable the installation's own program, never a shim or a virtual environment's link
 * @property {string} implementation
 * @property {string} version `3.11.7`
 * @property {string} ldversion `3.11`, as it stands in the library's name
 * @property {string} include
 * @property {string | null} headers the version that patchlevel.h names; null without Python.h
 * @property {string} libdir
 * @property {string | null} library the shared libpython that a program can be linked with
 * @property {boolean} shared whether this build has a shared libpython at all
 * @property {boolean} venv whether it can make virtual environments with pip inside
 */

/** @typedef {{ ok: true, facts: PythonFacts } | { ok: false, reason: string }} Probe */

// Standard library of 3.6 and later, so that a Python that is too old can still say its version.
const PROGRAM = `
import importlib.util, json, os, platform, re, sys, sysconfig
var = sysconfig.get_config_var
include, libdir = var('INCLUDEPY') or '', var('LIBDIR') or ''
ldversion = var('LDVERSION') or var('VERSION') or ''
patchlevel, headers = os.path.join(include, 'patchlevel.h'), None
if os.path.isfile(os.path.join(include, 'Python.h')) and os.path.isfile(patchlevel):
    found = re.search(r'#define PY_VERSION\\s+"([^"]+)"', open(patchlevel).read())
    headers = found.group(1) if found else None
folders = [libdir, os.path.join(libdir, var('MULTIARCH') or ''), os.path.join(sys.base_prefix, 'lib')]
names = [os.path.join(folder, 'libpython' + ldversion + '.so') for folder in folders]
library = next((name for name in names if os.path.exists(name)), None)
print(json.dumps({
    'executable': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'implementation': platform.python_implementation(),
    'version': platform.python_version(),
    'ldversion': ldversion,
    'include': include,
    'headers': headers,
    'libdir': os.path.dirname(library) if library else libdir,
    'library': library,
    'shared': bool(var('Py_ENABLE_SHARED')) or library is not None,
    'venv': all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip')),
}))
`

/**
 * Runs `command` and reads its facts. Never throws: for a command that does not run, the answer holds the reason.
 * @param {string} command a path, or a name to look up on PATH
 * @returns {Probe}
 */
export function probePython(command) {
  const env = { ...process.env }
  // Both would make one interpreter report another's library.
  delete env['PYTHONHOME']
  delete env['PYTHONPATH']
  const { stdout, stderr, status, error } = spawnSync(command, ['-c', PROGRAM], {
    env,
    encoding: 'utf8',
    timeout: 30_000,
  })
  if (error !== undefined) {
    const absent = 'code' in error && error.code === 'ENOENT'
    return { ok: false, reason: absent ? 'not found' : error.message }
  }
  if (status !== 0) return { ok: false, reason: stderr.trim().split('\n').at(-1) || `ended with status ${status}` }
  try {
    return { ok: true, facts: JSON.parse(stdout) }
  } catch {
    return { ok: false, reason: `is no Python: it printed ${JSON.stringify(stdout.slice(0, 60))}` }
  }
}
