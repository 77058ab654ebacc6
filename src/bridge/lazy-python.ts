import { embedPython, type Python } from './python.ts'

/** Python that starts with its first call, for work that may need none. `onStart` hears of it. */
export const lazyPython = (onStart: () => void = () => undefined): Python => ({
  call: async (op, input) => {
    onStart()
    return (await embedPython()).call(op, input)
  },
})
