/** Set to 1 for a command that `draftbridge launch` has started: it ends with its launcher. */
export const LAUNCHED_ENV = 'DRAFTBRIDGE_LAUNCHED'
