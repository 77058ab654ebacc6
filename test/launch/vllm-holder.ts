import { VllmProcess } from '../../src/launch/vllm-process.ts'

// Holds a process of vLLM with a sample under way until it is killed: node vllm-holder.ts PYTHON SCRIPT SCRATCH LOG
const [python = '', script = '', scratch = '', log = ''] = process.argv.slice(2)
const order = { model: 'm', dtype: 'float32', layers: [1], maxModelLen: 8, args: {} }
const held = await VllmProcess.start({ python, script, scratch, log, ...order })
await held.run([1, 2])
process.stdout.write(`${held.pid}\n`)
await held.run([7])
