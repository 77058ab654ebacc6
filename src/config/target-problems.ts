import type { Problem } from './problem.ts'
import type { RunConfig } from './schema.ts'

type Found = Omit<Problem, 'where'>

/** Engine arguments of vLLM that the capture itself sets. */
const SET_BY_CAPTURE = [
  'model',
  'tokenizer',
  'dtype',
  'max_model_len',
  'speculative_config',
  'kv_transfer_config',
  'skip_tokenizer_init',
]

/**
 * Engine arguments that let vLLM compute another model than the files hold. The probe cannot tell: the states and the
 * logits of that other model agree with each other.
 */
const OTHER_MODEL = ['hf_overrides', 'hf_config_path', 'enable_lora']

/** What a capture by vLLM cannot do, known before anything is loaded. */
export function targetProblems({
  target,
  data,
  features,
  launch,
}: Pick<RunConfig, 'target' | 'data' | 'features' | 'launch'>): readonly Found[] {
  if (target.engine !== 'vllm' || features.source !== 'capture') return []
  const problems: Found[] = []
  const add = (field: string, found: string, expected: string) => problems.push({ field, found, expected })
  if (target.vllm.python === null) {
    add('target.vllm.python', 'null', 'the python of an environment that has vLLM, such as ~/vllm/bin/python')
  }
  for (const name of SET_BY_CAPTURE.filter((each) => each in target.vllm.args)) {
    const field = `target.vllm.args.${name}`
    add(field, 'an argument that the capture sets itself', 'none: target.model, target.dtype and data.maxLength decide')
  }
  for (const name of OTHER_MODEL.filter((each) => each in target.vllm.args)) {
    const field = `target.vllm.args.${name}`
    add(field, 'an argument that makes another model', 'none: the features must be of the model in target.model')
  }
  if (target.model.endsWith('.gguf')) {
    add('target.model', 'a .gguf file, with target.engine vllm', 'a folder in the form of transformers')
  }
  if (target.devices === 'all') {
    add('target.devices', 'all, with target.engine vllm', 'one; target.vllm.args.tensor_parallel_size for several GPUs')
  }
  if (launch.processes !== 'auto' && launch.processes > 1) {
    const expected = '1 or auto; target.vllm.args.tensor_parallel_size for several GPUs, --part for several machines'
    add('launch.processes', `${launch.processes}, with target.engine vllm`, expected)
  }
  if (data.teacher) {
    add('data.teacher', 'true, with target.engine vllm', 'false: only the engine transformers stores the teacher')
  }
  return problems
}
