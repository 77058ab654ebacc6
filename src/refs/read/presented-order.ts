/** Orders are whole numbers below so many times the number of refs, except in data sets of which most is left out. */
const SPARSE = 16

/**
 * The published indices of refs in the order of their inputs; samples of one input by their ids. So the order is the same
 * however many producers there were, and whatever they did first. Null when the refs were published in that order.
 * `orders`: of each published ref. `idOf`: its sample id.
 */
export function presentedOrder(orders: Float64Array, idOf: (published: number) => string): Uint32Array | null {
  const byId = (a: number, b: number): number => compareText(idOf(a), idOf(b))
  if (isSorted(orders, byId)) return null
  const sorted = byOrder(orders)
  let start = 0
  for (let end = 1; end <= sorted.length; end += 1) {
    if (orders[sorted[end] ?? -1] === orders[sorted[start] ?? -1]) continue
    if (end - start > 1) sorted.subarray(start, end).sort(byId)
    start = end
  }
  return sorted
}

function isSorted(orders: Float64Array, byId: (a: number, b: number) => number): boolean {
  for (let index = 1; index < orders.length; index += 1) {
    const difference = (orders[index - 1] ?? 0) - (orders[index] ?? 0)
    if (difference > 0 || (difference === 0 && byId(index - 1, index) > 0)) return false
  }
  return true
}

/** By counting where that takes little memory: many times faster than by comparing. */
function byOrder(orders: Float64Array): Uint32Array {
  const greatest = orders.reduce((most, order) => Math.max(most, order), 0)
  if (greatest > SPARSE * orders.length) {
    return Uint32Array.from(orders, (_, index) => index).sort((a, b) => (orders[a] ?? 0) - (orders[b] ?? 0))
  }
  const places = new Uint32Array(greatest + 2)
  for (const order of orders) places[order + 1] = (places[order + 1] ?? 0) + 1
  for (let order = 1; order < places.length; order += 1) places[order] = (places[order] ?? 0) + (places[order - 1] ?? 0)
  const sorted = new Uint32Array(orders.length)
  for (const [index, order] of orders.entries()) {
    const place = places[order] ?? 0
    sorted[place] = index
    places[order] = place + 1
  }
  return sorted
}

/** By code units, which no locale changes. */
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
