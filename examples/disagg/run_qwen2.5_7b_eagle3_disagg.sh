#!/usr/bin/env bash
# Trains an EAGLE3 draft for Qwen2.5-7B-Instruct on several nodes. Run it once per node:
#
#   rcli exec --per-node '/mnt/draftbridge/examples/disagg/run_qwen2.5_7b_eagle3_disagg.sh'
#
# rcli sets RCLI_NODE_RANK and RCLI_NUM_NODES: the first PRODUCERS nodes store features, the others train. The same line goes on
# from the last checkpoint. The settings below are environment variables; words after the script, such as --set train.accumulate=2, go to
# `draftbridge run`. SHARED must be one folder that all nodes see.
set -euo pipefail

SHARED=${SHARED:?set SHARED to a folder that all nodes see, such as /mnt/draftbridge-run}
MODEL=${MODEL:?set MODEL to the folder of Qwen2.5-7B-Instruct}
TOKENIZER=${TOKENIZER:-$MODEL}             # its chat template turns conversations into tokens
CONVERSATIONS=${CONVERSATIONS:-}           # capture features of these conversations with the target ...
FEATURES=${FEATURES:-}                     # ... or ingest feature files that match this pattern
CACHE_DIR=${CACHE_DIR:-$SHARED/cache}      # compiled kernels and files of libraries
RUN_ID=${RUN_ID:-qwen2.5-7b-eagle3}
PRODUCERS=${PRODUCERS:-1}
LR=${LR:-5e-5}
EPOCHS=${EPOCHS:-10}
MAX_STEPS=${MAX_STEPS:-null}
MAX_LENGTH=${MAX_LENGTH:-2048}
TTT=${TTT:-7}
DRAFT_VOCAB=${DRAFT_VOCAB:-16000}
LOG_INTERVAL=${LOG_INTERVAL:-25}
PROMPTS=${PROMPTS:-null}                   # held-out conversations, for `draftbridge eval` afterwards
TARGET_DTYPE=${TARGET_DTYPE:-bfloat16}
PRECISION=${PRECISION:-bf16}

if [[ -n $CONVERSATIONS && -n $FEATURES || -z $CONVERSATIONS$FEATURES ]]; then
  echo "$0: set either CONVERSATIONS (files to capture) or FEATURES (feature files to ingest)" >&2
  exit 2
fi

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$CACHE_DIR"
export HF_HOME=${HF_HOME:-$CACHE_DIR/huggingface}
export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$CACHE_DIR/triton}

config=(
  --set "run.id=$RUN_ID"
  --set "run.dir=$SHARED/run"
  --set "store.root=$SHARED/store"
  --set "manifest=$SHARED/manifest"
  --set "target.model=$MODEL"
  --set "target.tokenizer=$TOKENIZER"
  --set "target.dtype=$TARGET_DTYPE"
  --set "data.maxLength=$MAX_LENGTH"
  --set "draft.vocabSize=$DRAFT_VOCAB"
  --set "launch.producers=$PRODUCERS"
  --set "train.optimizer.lr=$LR"
  --set "train.epochs=$EPOCHS"
  --set "train.maxSteps=$MAX_STEPS"
  --set "train.ttt.steps=$TTT"
  --set "train.precision=$PRECISION"
  --set "train.logInterval=$LOG_INTERVAL"
  --set "eval.prompts=$PROMPTS"
)
if [[ -n $CONVERSATIONS ]]; then
  config+=(--set "features.source=capture" --set "data.conversations=$CONVERSATIONS")
else
  config+=(--set "features.source=files" --set "features.files=$FEATURES")
fi

cd "$checkout"
exec node scripts/draftbridge.mjs run -c examples/disagg/draftbridge.yaml "${config[@]}" "$@"
