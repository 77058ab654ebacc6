import path from 'node:path'
import { readTextOrNull } from '../../core/files/atomic-file.ts'
import { JobNote, parsed } from './job-message.ts'

/** In the run folder. */
export const JOB_NOTE = '.job.json'
const LONGEST = 64 * 1024

/** Where the first node of the pool waits, or has waited; null when there is nothing to be read. */
export async function readJobNote(dir: string): Promise<JobNote | null> {
  return parsed(JobNote, await readTextOrNull(path.join(dir, JOB_NOTE), { maxBytes: LONGEST }))
}
