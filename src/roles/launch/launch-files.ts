import { writeFile } from 'node:fs/promises'
import type { RunConfig } from '../../config/schema.ts'
import { finding, isErrno } from '../../core/errors.ts'
import { makeFolder } from '../../core/files/make-folder.ts'
import { sbatchScript } from '../../launch/engines/sbatch-script.ts'
import { jobSize } from './job-size.ts'

export interface SlurmRequest {
  /** Absolute. */
  readonly configFile: string
  readonly program: readonly string[]
  readonly sets: readonly string[]
  readonly options: readonly string[]
  readonly restarts: number
}

/** Seconds before the time limit at which Slurm sends SIGTERM: longer than a large checkpoint takes. */
const NOTICE_SECONDS = 180

/** The sbatch script of a job. Makes run.dir, where Slurm is to write. @throws CONFIG_INVALID for what sbatch cannot read. */
export async function slurmFile(config: RunConfig, { configFile, ...given }: SlurmRequest): Promise<string> {
  for (const option of given.options) expectOption(option)
  expectPlain(config.run.dir)
  await makeFolder(config.run.dir, 'run.dir')
  const { producers, consumers } = jobSize(config)
  const { id: runId, dir: runDir } = config.run
  return sbatchScript({
    ...given,
    runId,
    runDir,
    config: configFile,
    producers,
    consumers,
    noticeSeconds: NOTICE_SECONDS,
  })
}

/** Writes a job file that is not there yet. @throws CONFIG_INVALID when it is. */
export async function writeJobFile(file: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx', mode })
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
    throw finding('CONFIG_INVALID', 'the job file is there already', {
      file,
      field: '--out',
      fix: 'name another file, or remove this one',
    })
  }
}

/** sbatch replaces `%` in the name of its output, and reads it up to the first blank. */
function expectPlain(dir: string): void {
  if (/^[^\s%"'\\]+$/.test(dir)) return
  throw finding('CONFIG_INVALID', 'Slurm cannot write its output to this folder', {
    field: 'run.dir',
    found: dir,
    fix: 'choose a path without blanks, quotes, backslashes and %',
  })
}

function expectOption(option: string): void {
  if (/^-[^\n]+$/.test(option)) return
  throw finding('CONFIG_INVALID', 'this is no option of sbatch', {
    field: '--sbatch',
    found: option,
    fix: "give one option of sbatch on one line, such as --sbatch '--partition=gpu'",
  })
}
