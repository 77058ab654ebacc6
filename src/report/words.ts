const grouped = new Intl.NumberFormat('en-US')

/** 12345 -> `12,345`. */
export const count = (value: number): string => grouped.format(Math.round(value))

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** Bytes in the largest unit that gives at least 1: `234 MiB`. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10))
  const scaled = value / 2 ** (10 * power)
  return `${scaled < 10 && power > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${units[power] ?? 'B'}`
}

/** Seconds as `42 s`, `3:07 min` or `2:05:09 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = (part: number) => String(part).padStart(2, '0')
  if (hours > 0) return `${hours}:${two(minutes)}:${two(rest)} h`
  return minutes > 0 ? `${minutes}:${two(rest)} min` : `${rest} s`
}

/** A number with at most four significant digits: 0.5221, 12.35, 3.2e-5. */
export function figure(value: number | null): string {
  if (value === null) return 'n/a'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, 'e')
  return size >= 10_000 ? count(value) : String(Number(value.toPrecision(4)))
}

export const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`
