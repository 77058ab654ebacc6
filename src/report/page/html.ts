const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text that may come from a file name, an error or a config, made safe for markup and for quoted attributes. */
export const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)

/** Markup that is safe already: only `html` makes it, so a plain string can never slip in unescaped. */
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
