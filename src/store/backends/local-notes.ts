import type { Notes } from '../coordination/notes.ts'

interface Note {
  text: string
  touched: number
}

/** Notes in the memory of this process. */
export class LocalNotes implements Notes {
  readonly #notes = new Map<string, Note>()

  async create(name: string, text: string): Promise<boolean> {
    if (this.#notes.has(name)) return false
    this.#put(name, text)
    return true
  }

  async createAlone(name: string, text: string): Promise<boolean> {
    if (this.#children(name.slice(0, name.lastIndexOf('/'))).length > 0) return false
    this.#put(name, text)
    return true
  }

  async write(name: string, text: string): Promise<void> {
    this.#put(name, text)
  }

  async read(name: string): Promise<string | null> {
    return this.#notes.get(name)?.text ?? null
  }

  async has(name: string): Promise<boolean> {
    return this.#notes.has(name)
  }

  async move(from: string, to: string): Promise<boolean> {
    const note = this.#notes.get(from)
    if (note === undefined) return false
    this.#notes.delete(from)
    this.#notes.set(to, note)
    return true
  }

  async remove(name: string): Promise<boolean> {
    return this.#notes.delete(name)
  }

  async enter(name: string, sign: string): Promise<boolean> {
    await this.create(name, '')
    return this.#notes.has(sign)
  }

  async leave(name: string, sign: string): Promise<boolean> {
    this.#notes.delete(name)
    return this.#notes.has(sign)
  }

  async removeFolder(folder: string): Promise<boolean> {
    return this.#children(folder).length === 0
  }

  async list(folder: string): Promise<readonly string[]> {
    return this.#children(folder)
  }

  async touch(name: string): Promise<boolean> {
    const note = this.#notes.get(name)
    if (note !== undefined) note.touched = performance.now()
    return note !== undefined
  }

  async age(name: string): Promise<number | null> {
    const note = this.#notes.get(name)
    return note === undefined ? null : performance.now() - note.touched
  }

  #put(name: string, text: string): void {
    this.#notes.set(name, { text, touched: performance.now() })
  }

  #children(folder: string): readonly string[] {
    const names = [...this.#notes.keys()].filter((name) => name.startsWith(`${folder}/`))
    return [...new Set(names.map((name) => name.slice(folder.length + 1).split('/')[0] ?? ''))]
  }
}
