/** Runs the tasks of one key one after another, in the order they came. Tasks of different keys do not wait for each other. */
export class SerialQueue<K> {
  readonly #tails = new Map<K, Promise<unknown>>()

  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    // The first task of a key begins at once, in this turn of the event loop.
    const result = this.#tails.get(key)?.then(task) ?? task()
    const tail = result.catch(() => undefined)
    this.#tails.set(key, tail)
    try {
      return await result
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    }
  }
}
