import path from 'node:path'

/** The root of this checkout. */
export const checkout = path.resolve(import.meta.dirname, '../..')

/** The interpreter that set-up made. DRAFTBRIDGE_VENV names another environment. */
export const venvPython = (): string =>
  path.join(process.env['DRAFTBRIDGE_VENV'] ?? path.join(checkout, '.venv'), 'bin/python')
