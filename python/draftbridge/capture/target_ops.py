"""The `target.*` operations: sizes and identity of a target, without its weights."""

from __future__ import annotations

from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op
from draftbridge.target.gguf_reads import GgufReads
from draftbridge.target.target import describe, identity, located, template_on_disk, text_hash, unloadable


@op("target.reads", "io")
def _reads(_payload: Payload) -> Payload:
    return {"handle": TABLE.mint(GgufReads())}


@op("target.identity", "io")
def _identity(payload: Payload) -> Payload:
    """Does not import transformers, which takes seconds: ranks ask only this."""
    model = str(payload["model"])
    located(model)
    template = template_on_disk(str(payload["tokenizer"] or model))
    try:
        return {"hash": identity(model), "templateHash": None if template is None else text_hash(template)}
    except (OSError, ValueError) as exc:
        raise unloadable(model, "configuration", exc) from exc


@op("target.describe", "io")
def _describe(payload: Payload) -> Payload:
    model = str(payload["model"])
    return {"shape": describe(model), "hash": identity(model)}
