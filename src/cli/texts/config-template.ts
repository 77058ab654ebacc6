/** The file that `draftbridge init` writes: the common keys with their defaults. `draftbridge schema` lists every key. */
export const configTemplate = (
  runId: string,
): string => `# draftbridge: train an EAGLE3 draft from features of a target model.
# Relative paths start at the folder of this file. Paths may contain ~ and \${VARIABLE}.
# Flags and environment variables override this file: --set train.epochs=3, or DRAFTBRIDGE_TRAIN_EPOCHS=3.
version: 1

run:
  id: ${runId}   # names the samples in the store: one of its own for each project
  dir: runs/demo            # events, checkpoints, report.html
  seed: 0

target:
  model: path/to/model      # a transformers folder, or a .gguf file
  dtype: bfloat16           # float32 | bfloat16 | float16
  # tokenizer: path         # default: the tokenizer in the model's folder

data:                       # read when features.source is capture
  conversations: train.jsonl   # messages or ShareGPT: JSON lines, a JSON array or Parquet, also .gz and .zst; see docs/conversations.md
  maxLength: 2048           # tokens; longer samples are cut

features:
  source: capture           # capture: run the target on conversations | files: read existing feature files
  # files: "features/**/*.ckpt*"

store:
  kind: shared-dir          # shared-dir | local (one process only)
  root: features            # a folder that the producer and the consumer can both write
  retain: true              # false: each sample is freed after its first use; needs train.epochs: 1
  # quota: 2TiB             # for all runs in this store together
  # auth: { mode: mac, keyFile: ~/.config/draftbridge/key }   # none | mac: signs the data | seal: signs and encrypts it

manifest: manifest          # folder: the producer publishes its samples there, the consumer waits for it

draft:
  config: auto              # auto: one layer with the sizes of the target | path of a config.json
  vocabSize: 32000
  init: normal              # normal: random | target-head: rows of the target's head (better with little data)
  # fcNorm: true            # EAGLE-3.1: one RMSNorm per auxiliary state; the engine must support it
  # normOutput: true        # EAGLE-3.1: each draft step starts from the normed output of the previous step

train:
  epochs: 10
  batch: { samples: 1 }     # per rank and micro-step; or { tokens: 8192 }
  accumulate: 1             # micro-steps per optimiser step
  precision: bf16           # bf16 | fp32
  ttt: { steps: 7, decay: 0.8, loss: ce, reduction: all }   # steps: draft positions that the loss covers
  optimizer: { lr: 1.0e-4, clip: 0.5, warmupRatio: 0.015, schedule: cosine }
  logInterval: 50           # optimiser steps between two progress lines
  save: { every: 500, keep: 3 }   # checkpoints
  # validation: { share: 0.02, every: 500 }   # measure on held-out samples; or { manifest: path }
  # spikes: { factor: 10 }    # report steps with an unusually high loss or gradient norm; null: off
  # tensorboard: true         # also write TensorBoard files to run.dir/tensorboard
  # deterministic: true       # bit-equal results also on a GPU; slower there

eval:
  # prompts: heldout.jsonl  # held-out conversations, in any form that data.conversations takes; or {"id", "prompt"} on each line
  maxNewTokens: 128
  steps: [3, 5, 7]          # draft tokens per target pass
  dtype: fp32

launch:
  ranksPerNode: auto        # auto: one rank per GPU
  processes: auto           # of capture, on this machine; auto: one per GPU
`
