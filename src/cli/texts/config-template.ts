/** What `draftbridge init` writes: everything most runs touch, with its default. `draftbridge schema` has the rest. */
export const CONFIG_TEMPLATE = `# draftbridge: train an EAGLE3 draft from features of a target model.
# Relative paths start at this file's folder. ~ and \${VARIABLE} work in paths.
# Any key can be set from outside: --set train.epochs=3, or DRAFTBRIDGE_TRAIN_EPOCHS=3.
version: 1

run:
  id: demo
  dir: runs/demo            # events, checkpoints, report.html
  seed: 0

target:
  model: path/to/model      # a transformers folder, or a .gguf file
  dtype: bfloat16           # float32 | bfloat16 | float16
  # tokenizer: path         # when it does not lie with the model

data:                       # for features.source: capture
  conversations: train.jsonl   # a line: {"id", "messages"} or {"id", "input_ids", "loss_start"}; .gz works
  maxLength: 2048           # longer samples are cut, and counted

features:
  source: capture           # capture: run the target | files: read existing .ckpt files
  # files: "features/**/*.ckpt*"

store:
  kind: shared-dir          # shared-dir | local (one process only)
  root: features            # a folder that producer and consumer both see
  retain: true              # false frees each sample after its first use: one epoch only
  # quota: 2TiB             # of all runs in the store together
  # auth: { mode: mac, keyFile: ~/.config/draftbridge/key }   # none | mac: no forging | seal: no reading either

manifest: manifest          # what the producer publishes and the consumer waits for

draft:
  config: auto              # auto: one layer of the target's sizes | a config.json
  vocabSize: 32000
  init: normal              # normal | target-head (starts better when data are few)
  # fcNorm: true            # EAGLE-3.1: norm each auxiliary state; the engine must support it
  # normOutput: true        # EAGLE-3.1: each draft step starts from the normed output of the step before

train:
  epochs: 10
  batch: { samples: 1 }     # for each rank; or { tokens: 8192 }
  accumulate: 1
  precision: bf16           # bf16 | fp32
  ttt: { steps: 7, decay: 0.8, loss: ce, reduction: all }   # draft positions that training unrolls
  optimizer: { lr: 1.0e-4, clip: 0.5, warmupRatio: 0.015, schedule: cosine }
  logInterval: 50
  save: { every: 500, keep: 3 }
  # validation: { share: 0.02, every: 500 }   # hold samples out and measure on them; or { manifest: path }
  # spikes: { factor: 10 }    # tell of steps far above the usual loss or gradient norm; null: do not
  # tensorboard: true         # also write run.dir/tensorboard
  # deterministic: true       # the same bits from the same run also on a GPU; slower there

eval:
  # prompts: heldout.jsonl  # a line: {"id", "prompt"} or {"id", "input_ids", "loss_start"}
  maxNewTokens: 128
  steps: [3, 5, 7]          # draft tokens for each pass of the target
  dtype: fp32

launch:
  ranksPerNode: auto        # auto: one for each GPU
`
