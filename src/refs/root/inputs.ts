/**
 * What was captured or ingested, and how, in one short line: `data.maxLength=2048 features.files=<sha256>`. Each part has
 * the name of the setting it comes from, so that an error about other inputs can name the setting.
 */
export function inputsText(parts: Readonly<Record<string, string | number>>): string {
  return Object.entries(parts)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(' ')
}

/** The parts of such a line; a line of another form is one part. */
export function inputsParts(text: string): Readonly<Record<string, string>> {
  const parts = text.split(' ').map((part) => /^([^=]+)=(.*)$/.exec(part))
  if (parts.some((part) => part === null)) return { inputs: text }
  return Object.fromEntries(parts.map((part) => [part?.[1] ?? '', part?.[2] ?? '']))
}
