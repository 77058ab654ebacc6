import { embedPython, type Python } from './python.ts'

/** Starts Python at the first call, for work that may not need Python. */
export const lazyPython: Python = {
  call: async (op, input) => (await embedPython()).call(op, input),
}
