/** Runs tasks of one key in the order they came, one at a time; tasks of different keys do not wait for each other. */
export class SerialQueue<K> {
  readonly #tails = new Map<K, Promise<unknown>>()

  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const result = before.then(task)
    const tail = result.catch(() => undefined)
    this.#tails.set(key, tail)
    try {
      return await result
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    }
  }
}
