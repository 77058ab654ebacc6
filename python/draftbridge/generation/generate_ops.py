"""Ops that let the target write conversations."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op
from draftbridge.capture.chat import Chat
from draftbridge.capture.conversation_mask import encode
from draftbridge.capture.encoder import template_text
from draftbridge.generation.conversation import context_of, first_user_prompt, with_answers
from draftbridge.generation.round_trip import message_for
from draftbridge.generation.writer import Sampling, Writer, Written
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.settings.section import from_section
from draftbridge.target import target


@op("generate.open", "engine")
def _open(payload: Payload) -> Payload:
    settings = from_section(TargetSettings, payload["target"], "target")
    writer = Writer(settings, payload["today"])
    tokenizer: Any = writer.tokenizer
    template = tokenizer.chat_template
    return {
        "handle": TABLE.mint(writer),
        "device": writer.device.type,
        "targetHash": target.identity(settings.model),
        "templateHash": None if template is None else target.text_hash(template_text(template)),
        "computeDtype": str(writer.compute_dtype).removeprefix("torch."),
        "stopTokens": writer.stops,
    }


@op("generate.answers", "engine")
def _answers(payload: Payload) -> Payload:
    writer = TABLE.borrow(payload["session"], Writer)
    turns = [
        (json.loads(one["conversation"]), [json.loads(each) for each in one["answers"]]) for one in payload["turns"]
    ]
    contexts = [_tried(partial(_prompted, writer, *one)) for one in turns]
    ready = [at for at, context in enumerate(contexts) if not isinstance(context, BridgeError)]
    written = _written(
        writer, payload, [contexts[at][2] for at in ready], [payload["turns"][at]["seed"] for at in ready]
    )
    results: list[Payload] = [{}] * len(contexts)
    for at, context in enumerate(contexts):
        if isinstance(context, BridgeError):
            results[at] = _error(context)
    for at, text in zip(ready, written, strict=True):
        results[at] = _answer(writer, contexts[at], text)
    return {"results": results}


@op("generate.prompts", "engine")
def _prompts(payload: Payload) -> Payload:
    """User turns, as the target imagines them behind the template's header of the first one."""
    writer = TABLE.borrow(payload["session"], Writer)
    ids = writer.prompt_ids(first_user_prompt(writer.tokenizer, writer.today))
    seeds = payload["seeds"]
    written = _written(writer, payload, [ids] * len(seeds), seeds)
    return {"results": [{"text": one.text.strip(), "tokens": one.tokens, "ended": one.ended} for one in written]}


@op("generate.finish", "engine")
def _finish(payload: Payload) -> Payload:
    writer = TABLE.borrow(payload["session"], Writer)

    def finished(one: Payload) -> Payload:
        conversation = json.loads(one["conversation"])
        done = with_answers(conversation, [json.loads(each) for each in one["answers"]])
        samples = encode(writer.tokenizer, {"id": "conversation", **done}, today=writer.today)
        return {"conversation": json.dumps(done), "trained": sum(sum(sample.mask) for sample in samples)}

    found = [_tried(partial(finished, one)) for one in payload["conversations"]]
    return {"results": [_error(one) if isinstance(one, BridgeError) else one for one in found]}


_Prompted = tuple[dict[str, Any], str, list[int], int]


def _prompted(writer: Writer, conversation: dict[str, Any], answers: list[Any]) -> _Prompted:
    """The context of the next answer, its text, its ids, and how many answers are wanted after it."""
    context, left = context_of(conversation, answers)
    chat = Chat(writer.tokenizer, context, writer.today)
    prompt = chat.text(chat.messages, prompt=True)
    return {**context, "messages": chat.messages}, prompt, writer.prompt_ids(prompt), left


def _written(writer: Writer, payload: Payload, prompts: list[list[int]], seeds: list[int]) -> list[Written]:
    if not prompts:
        return []
    sampling = Sampling(payload["maxNewTokens"], payload["temperature"], payload["topP"])
    return writer.write(prompts, seeds, sampling)


def _answer(writer: Writer, context: _Prompted, written: Written) -> Payload:
    messages, prompt, ids, left = context
    message = (
        message_for(writer.tokenizer, messages, prompt, written.text, writer.today) if written.text.strip() else None
    )
    return {
        "text": written.text.strip(),
        "tokens": written.tokens,
        "ended": written.ended,
        "left": left,
        "promptTokens": len(ids),
        "message": None if message is None else json.dumps(message),
    }


def _tried(task: Callable[[], Any]) -> Any:
    try:
        return task()
    except BridgeError as exc:
        if exc.code != "FEATURE_INVALID":
            raise
        return exc


def _error(error: BridgeError) -> Payload:
    return {"error": {"code": error.code, "message": str(error), "details": error.details}}
