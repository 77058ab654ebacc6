/** Waits for its task's turn, which does not come before `ready` says so. */
export type Step = (ready?: () => boolean) => Promise<void>
type Task = (step: Step) => Promise<void>

/**
 * Runs `scenario` once for each order in which the steps of its tasks can follow each other. Whatever a task does between
 * two steps happens without anybody else. Ends early when a scenario answers false.
 */
export async function everyInterleaving(
  scenario: (run: (tasks: readonly Task[]) => Promise<void>) => Promise<boolean>,
): Promise<void> {
  let path: Choice[] = []
  do {
    const choices: Choice[] = []
    if (!(await scenario((tasks) => play(tasks, path, choices)))) return
    // The last choice that has another way takes it; what comes behind begins anew.
    while (choices.length > 0 && isLast(choices.at(-1))) choices.pop()
    const last = choices.pop()
    path = last === undefined ? [] : [...choices, { ...last, taken: last.taken + 1 }]
  } while (path.length > 0)
}

interface Choice {
  readonly taken: number
  readonly of: number
}

const isLast = (choice: Choice | undefined): boolean => choice !== undefined && choice.taken + 1 >= choice.of

async function play(tasks: readonly Task[], path: readonly Choice[], choices: Choice[]): Promise<void> {
  const waiting = new Map<number, { readonly go: () => void; readonly ready: () => boolean }>()
  let idle: () => void = () => undefined
  let running = tasks.length
  const paused = () => {
    running -= 1
    if (running === 0) idle()
  }
  const allPaused = () =>
    new Promise<void>((resolve) => {
      idle = resolve
      if (running === 0) resolve()
    })
  const ends = tasks.map(async (task, index) => {
    const step: Step = (ready = () => true) =>
      new Promise<void>((go) => {
        waiting.set(index, { go, ready })
        paused()
      })
    await task(step).finally(paused)
  })
  for (;;) {
    await allPaused()
    if (waiting.size === 0) break
    const ready = [...waiting].flatMap(([index, { ready }]) => (ready() ? [index] : [])).sort()
    if (ready.length === 0) throw new Error('every task waits for another one')
    const taken = ready.length === 1 ? 0 : (path[choices.length]?.taken ?? 0)
    if (ready.length > 1) choices.push({ taken, of: ready.length })
    const chosen = ready[taken] ?? 0
    const next = waiting.get(chosen)
    waiting.delete(chosen)
    running += 1
    next?.go()
  }
  await Promise.all(ends)
}
