import { embedPython, type Python } from './python.ts'

/** Starts Python with the first call, for work that may need none. `onStart` runs at every call, before it. */
export const lazyPython = (onStart: () => void = () => undefined): Python => ({
  call: async (op, input) => {
    onStart()
    return (await embedPython()).call(op, input)
  },
})
