import path from 'node:path'
import { readTextOrNull, replaceFile } from '../../core/files/atomic-file.ts'
import { readEvents } from '../events/events-file.ts'
import { reportHtml } from './report-html.ts'

export const REPORT_NAME = 'report.html'

/** Writes `report.html` of a run folder from its events and its config. Returns the path. */
export async function writeReport(dir: string): Promise<string> {
  const { events, unreadable } = await readEvents(dir)
  const config = await readTextOrNull(path.join(dir, 'config.resolved.yaml'))
  const file = path.join(dir, REPORT_NAME)
  await replaceFile(file, reportHtml({ events, unreadable, config }))
  return file
}
