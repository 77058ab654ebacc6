/** Runs tasks of one key in the order they came, one at a time; tasks of different keys do not wait for each other. */
export class SerialQueue<K> {
  readonly #tails = new Map<K, Promise<unknown>>()

  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    // A task that waits for none begins at once.
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
