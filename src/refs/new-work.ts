/** The fix for new work in the place of old: with the run id of the old, it would replace the samples of the old. */
export const NEW_WORK = 'give the new work a `run.id` and a `manifest` folder of its own'
