/** A piece of a JSON document. `number`: the line on which it begins. */
export interface JsonElement {
  readonly number: number
  readonly text: string
}

const NONE = -1

/** What stands outside of objects and arrays is no conversation, but an input that must be counted. */
function* between(given: string, number: number): Generator<JsonElement> {
  const text = given.replace(/^[\s,]+|[\s,]+$/g, '')
  if (text === '') return
  try {
    for (const value of JSON.parse(`[${text}]`) as unknown[]) yield { number, text: JSON.stringify(value) }
  } catch {
    yield { number, text }
  }
}

/**
 * Cuts a JSON document of many lines into its elements, and keeps one at a time: the elements of the array that the
 * document is, or the objects that stand one after another. It only counts brackets outside of strings: whether an element is
 * JSON is for its parser to say.
 */
export class JsonElements {
  readonly #signs = /["\\[\]{}]/g
  /** The depth at which an element begins. */
  readonly #base: number
  #depth = 0
  #inString = false
  /** The lines of an element that goes on, and where it begins in the line that is looked at. */
  #begun: string[] = []
  #beganAt = 0
  #from = NONE
  /** Where the text outside of elements begins in this line. */
  #outside = NONE

  constructor(isArray: boolean) {
    this.#base = isArray ? 1 : 0
  }

  /** Whether a document may end here: nothing is open. */
  get isClosed(): boolean {
    return this.#depth === 0 && !this.#inString
  }

  /** The elements that end in this line. */
  *push(line: string, number: number): Generator<JsonElement> {
    const signs = this.#signs
    signs.lastIndex = 0
    if (this.#begun.length > 0) this.#from = 0
    this.#outside = this.#depth > this.#base ? NONE : 0
    for (let found = signs.exec(line); found !== null; found = signs.exec(line)) {
      const { index } = found
      const [sign] = found
      if (this.#inString || sign === '"' || sign === '\\') this.#inText(sign)
      else if (sign === '{' || sign === '[' || this.#depth > 0) yield* this.#bracket(sign, index, line, number)
    }
    if (this.#outside !== NONE) yield* between(line.slice(this.#outside), number)
    if (this.#from !== NONE) this.#begun.push(line.slice(this.#from))
    this.#from = NONE
  }

  *#bracket(sign: string, index: number, line: string, number: number): Generator<JsonElement> {
    if (this.#outside !== NONE) yield* between(line.slice(this.#outside, index), number)
    if (sign === '{' || sign === '[') this.#open(index, number)
    else if (this.#close()) yield this.#taken(line.slice(this.#from, index + 1))
    this.#outside = this.#depth > this.#base ? NONE : index + 1
  }

  #inText(sign: string): void {
    if (sign === '"') this.#inString = !this.#inString
    // What follows a backslash ends no string.
    else if (sign === '\\') this.#signs.lastIndex += 1
  }

  #open(index: number, number: number): void {
    if (this.#depth === this.#base) {
      this.#from = index
      this.#beganAt = number
    }
    this.#depth += 1
  }

  /** True when an element ends here. */
  #close(): boolean {
    this.#depth -= 1
    return this.#depth === this.#base && this.#from !== NONE
  }

  #taken(end: string): JsonElement {
    const text = [...this.#begun, end].join('\n')
    this.#begun = []
    this.#from = NONE
    return { number: this.#beganAt, text }
  }
}
