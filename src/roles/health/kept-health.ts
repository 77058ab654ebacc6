import path from 'node:path'
import { z } from 'zod'
import { DataHealth } from '../../core/data-health.ts'
import { readTextOrNull, replaceFile } from '../../core/files/atomic-file.ts'

const NAME = 'data-health.json'

/** `manifest`: the sum of the root that it was made of. */
const KeptHealth = z.object({ version: z.literal(1), manifest: z.string(), health: DataHealth })
export type KeptHealth = z.output<typeof KeptHealth>

/** Keeps the health of the data beside the report, so that each report of a run need not read samples anew. */
export const keepHealth = (dir: string, kept: Omit<KeptHealth, 'version'>): Promise<void> =>
  replaceFile(path.join(dir, NAME), `${JSON.stringify({ version: 1, ...kept })}\n`)

/** Null where there is none, or one that this version cannot read: it is made again. */
export async function keptHealth(dir: string): Promise<KeptHealth | null> {
  const text = await readTextOrNull(path.join(dir, NAME)).catch(() => null)
  if (text === null) return null
  try {
    return KeptHealth.parse(JSON.parse(text))
  } catch {
    return null
  }
}
