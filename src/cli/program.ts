import { Command } from 'commander'
import { addCapture } from './commands/capture.ts'
import { addDoctor } from './commands/doctor.ts'
import { addEval } from './commands/eval.ts'
import { addExplain } from './commands/explain.ts'
import { addGenerate } from './commands/generate.ts'
import { addIngest } from './commands/ingest.ts'
import { addInit } from './commands/init.ts'
import { addLaunch } from './commands/launch.ts'
import { addManifest } from './commands/manifest.ts'
import { addRank } from './commands/rank.ts'
import { addRun } from './commands/run.ts'
import { addSchema } from './commands/schema.ts'
import { addStore } from './commands/store.ts'
import { addTrain } from './commands/train.ts'
import { withExamples } from './flags.ts'
import type { Stop } from './sessions/stop.ts'

/** The whole command line. A command imports its modules when it runs, so that help stays fast. */
export function buildProgram(version: string, stop: Stop): Command {
  const program = new Command('draftbridge')
    .description('Train EAGLE3 draft models for speculative decoding, from features that a producer stores.')
    .version(version, '-V, --version')
    .showSuggestionAfterError()
    .exitOverride()
  withExamples(program, [
    'init',
    'doctor',
    'run --role producer',
    'run --role consumer',
    'eval --draft runs/demo/checkpoints/step-000500',
  ])
  addInit(program)
  addDoctor(program)
  addGenerate(program, stop)
  addCapture(program, stop)
  addIngest(program, stop)
  addTrain(program, stop)
  addRun(program, stop)
  addRank(program, stop)
  addLaunch(program, stop)
  addEval(program, stop)
  addManifest(program)
  addStore(program, stop)
  addExplain(program)
  addSchema(program)
  return program
}
