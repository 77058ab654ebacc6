import type { Notes } from '../notes.ts'

/** Notes in the memory of this process. Every method does its work in one turn of the event loop, so each is atomic. */
export class MemoryNotes implements Notes {
  readonly #notes = new Map<string, string>()
  /** By folder: the names in it, each with the number of notes at or below it. */
  readonly #folders = new Map<string, Map<string, number>>()

  async create(name: string, text: string): Promise<boolean> {
    if (this.#notes.has(name) || this.#folders.has(name)) return false
    this.#set(name, text)
    return true
  }

  async createAlone(name: string, text: string): Promise<boolean> {
    if (this.#folders.has(folderOf(name))) return false
    this.#set(name, text)
    return true
  }

  async write(name: string, text: string): Promise<void> {
    this.#set(name, text)
  }

  async read(name: string): Promise<string | null> {
    return this.#notes.get(name) ?? null
  }

  async has(name: string): Promise<boolean> {
    return this.#notes.has(name)
  }

  async move(from: string, to: string): Promise<boolean> {
    const text = this.#notes.get(from)
    if (text === undefined) return false
    this.#delete(from)
    this.#set(to, text)
    return true
  }

  async remove(name: string): Promise<boolean> {
    return this.#delete(name)
  }

  async enter(name: string): Promise<boolean> {
    if (this.#notes.has(folderOf(name))) return false
    await this.create(name, '')
    return true
  }

  async leave(name: string, sign: string): Promise<boolean> {
    this.#delete(name)
    return this.#notes.has(sign)
  }

  async isNote(name: string): Promise<boolean> {
    return this.#notes.has(name)
  }

  async removeFolder(folder: string): Promise<boolean> {
    return !this.#folders.has(folder)
  }

  async list(folder: string): Promise<readonly string[]> {
    return [...(this.#folders.get(folder)?.keys() ?? [])]
  }

  async rewrite(name: string, text: string): Promise<boolean> {
    if (!this.#notes.has(name)) return false
    this.#set(name, text)
    return true
  }

  #set(name: string, text: string): void {
    if (!this.#notes.has(name)) this.#count(name, 1)
    this.#notes.set(name, text)
  }

  #delete(name: string): boolean {
    if (!this.#notes.delete(name)) return false
    this.#count(name, -1)
    return true
  }

  #count(name: string, change: 1 | -1): void {
    for (let path = name; path.includes('/'); path = folderOf(path)) {
      const folder = this.#folders.get(folderOf(path)) ?? new Map<string, number>()
      const child = path.slice(folderOf(path).length + 1)
      const count = (folder.get(child) ?? 0) + change
      if (count === 0) folder.delete(child)
      else folder.set(child, count)
      if (folder.size === 0) this.#folders.delete(folderOf(path))
      else this.#folders.set(folderOf(path), folder)
    }
  }
}

const folderOf = (name: string): string => name.slice(0, name.lastIndexOf('/'))
