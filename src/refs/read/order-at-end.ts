const [COMMA, OPEN, CLOSE, ZERO, NINE] = [0x2c, 0x5b, 0x5d, 0x30, 0x39]
/** In the facts of a line that says where its input stands; one less in those of another. */
const COMMAS = 3

/** In the place of a figure: the line has none, or only its parsing can tell. */
export const [NO_ORDER, UNREAD] = [-1, -2] as const

/** The order in the facts at the end of a line, which ends at `end`. `digestsEnd`: where its digests end. */
export function orderAtEnd(bytes: Buffer, digestsEnd: number, end: number): number {
  if (bytes[end - 1] !== CLOSE || bytes[end - 2] !== CLOSE) return UNREAD
  let [at, order, scale] = [end - 3, 0, 1]
  for (let digit = digitAt(bytes, at); digit >= 0; digit = digitAt(bytes, at)) {
    order += digit * scale
    scale *= 10
    at -= 1
  }
  const commas = commasOfFacts(bytes, digestsEnd, at)
  if (commas === COMMAS - 1) return NO_ORDER
  return commas === COMMAS && scale > 1 ? order : UNREAD
}

/** The commas between `[` and `end`; none when these are not facts as this program writes them. */
function commasOfFacts(bytes: Buffer, digestsEnd: number, end: number): number {
  let commas = 0
  // What begins right behind the digests is provenance, with which a line of version 1 ends.
  for (let at = end; at > digestsEnd + 2; at -= 1) {
    if (bytes[at] === OPEN) return commas
    if (bytes[at] === COMMA) commas += 1
    else if (digitAt(bytes, at) < 0 && !isOfNull(bytes[at])) return 0
  }
  return 0
}

/** -1 for what is no digit. */
function digitAt(bytes: Buffer, at: number): number {
  const byte = bytes[at] ?? 0
  return byte >= ZERO && byte <= NINE ? byte - ZERO : -1
}

const isOfNull = (byte = 0): boolean => byte === 0x6e || byte === 0x75 || byte === 0x6c
