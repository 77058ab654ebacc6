import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

type Found = Omit<Problem, 'where'>

/** What a capture by vLLM cannot do, known before anything is loaded. */
export function targetProblems({
  target,
  data,
  features,
}: Pick<RunConfig, 'target' | 'data' | 'features'>): readonly Found[] {
  if (target.engine !== 'vllm' || features.source !== 'capture') return []
  const problems: Found[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (target.vllm.python === null) {
    add('target.vllm.python', 'null', 'the python of an environment that has vLLM, such as ~/vllm/bin/python')
  }
  if (target.model.endsWith('.gguf')) {
    add('target.model', 'a .gguf file, with target.engine vllm', 'a folder in the form of transformers')
  }
  if (data.teacher) {
    add('data.teacher', 'true, with target.engine vllm', 'false: only the engine transformers stores the teacher')
  }
  return problems
}
