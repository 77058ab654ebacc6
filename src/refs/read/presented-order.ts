/**
 * The published indices of refs in the order of their inputs; samples of one input by their ids. So the order is the same
 * however many producers there were, and whatever they did first. Null when the refs were published in that order.
 * `orders`: of each published ref. `idOf`: its sample id.
 */
export function presentedOrder(orders: Float64Array, idOf: (published: number) => string): Uint32Array | null {
  const compare = (a: number, b: number): number => {
    const difference = (orders[a] ?? 0) - (orders[b] ?? 0)
    return difference === 0 ? compareText(idOf(a), idOf(b)) : difference
  }
  if (isSorted(orders.length, compare)) return null
  return Uint32Array.from(orders, (_, index) => index).sort(compare)
}

function isSorted(length: number, compare: (a: number, b: number) => number): boolean {
  for (let index = 1; index < length; index += 1) if (compare(index - 1, index) > 0) return false
  return true
}

/** By code units, which no locale changes. */
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
