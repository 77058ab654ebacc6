const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Escapes text for markup and for quoted attributes. File names, errors and configs may contain any character. */
export const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)

/** Escaped markup. Only `html` creates it, so a plain string is never inserted without escaping. */
export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Part = string | number | Markup | readonly Markup[]

export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.reduce((text, piece, index) => text + piece + rendered(parts[index] ?? ''), ''))
}

function rendered(part: Part): string {
  if (part instanceof Markup) return part.text
  return typeof part === 'object' ? part.map((markup) => markup.text).join('') : escapeHtml(String(part))
}

export const nothing = new Markup('')
