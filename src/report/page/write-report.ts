import path from 'node:path'
import type { DataHealth } from '../../core/data-health.ts'
import { readTextOrNull, replaceFile } from '../../core/files/atomic-file.ts'
import { readEvents } from '../events/events-file.ts'
import { reportHtml } from './report-html.ts'

export const REPORT_NAME = 'report.html'

/** Writes `report.html` of a run folder from its events, its config and the health of its data. `own`: the file with what this process says. Returns the path. */
export async function writeReport(
  dir: string,
  health: DataHealth | string | null = null,
  own?: string,
): Promise<string> {
  const { events, unreadable } = await readEvents(dir, own)
  const config = await readTextOrNull(path.join(dir, 'config.resolved.yaml'))
  const file = path.join(dir, REPORT_NAME)
  await replaceFile(file, reportHtml({ events, unreadable, config, health }))
  return file
}
