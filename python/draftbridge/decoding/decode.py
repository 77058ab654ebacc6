"""Ops that measure a draft: open a target with a draft, turn a prompt into tokens, decode."""

from __future__ import annotations

import json

import torch

from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op
from draftbridge.decoding.eval_session import EvalSession
from draftbridge.drafts.registry import architecture_of
from draftbridge.settings.model_settings import DraftSettings, EvalSettings, TargetSettings
from draftbridge.settings.section import from_section

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@op("eval.open", "engine")
def _open(payload: Payload) -> Payload:
    if payload["threads"]:
        torch.set_num_threads(payload["threads"])
    target = from_section(TargetSettings, payload["target"], "target")
    draft = from_section(DraftSettings, payload["draft"], "draft")
    settings = from_section(EvalSettings, payload["eval"], "eval")
    architecture = architecture_of(draft.architecture)
    dtype = _DTYPES[settings.dtype]
    session = EvalSession.open(target, architecture, payload["draftDir"], payload["auxLayers"], dtype)
    return {"handle": TABLE.mint(session)}


@op("eval.encode", "engine")
def _encode(payload: Payload) -> Payload:
    return {"inputIds": _session(payload).encode(json.loads(payload["conversation"]), payload["today"])}


@op("eval.decode", "engine")
def _decode(payload: Payload) -> Payload:
    done = _session(payload).decode(payload["inputIds"], payload["maxNewTokens"], payload["steps"])
    return {
        "outputIds": done.output_ids,
        "tokens": done.tokens,
        "passes": done.passes,
        "accepted": done.accepted,
        "proposed": done.proposed,
        "seconds": done.seconds,
    }


def _session(payload: Payload) -> EvalSession:
    return TABLE.borrow(payload["session"], EvalSession)
