import { embedPython, type Python } from './python.ts'

/** Starts Python at the first call, for work that may not need Python. `onStart` runs before every call. */
export const lazyPython = (onStart: () => void = () => undefined): Python => ({
  call: async (op, input) => {
    onStart()
    return (await embedPython()).call(op, input)
  },
})
