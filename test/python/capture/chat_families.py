"""Chat templates in the form of the public families, and what each makes of an answer. Written for these tests."""

# ruff: noqa: E501  (a line of a template stays one line)
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Said = Callable[[dict[str, Any]], str | None]
"""What is to be trained of an assistant message: text up to the end of the turn; None where it must be refused."""


def _plain(message: dict[str, Any]) -> str | None:
    return None if message.get("tool_calls") or message.get("reasoning_content") else str(message["content"])


def _trimmed(message: dict[str, Any]) -> str | None:
    text = _plain(message)
    return None if text is None else text.strip()


def _qwen_calls(message: dict[str, Any]) -> str:
    calls = [call["function"] for call in message.get("tool_calls", [])]
    texts = [
        f'<tool_call>\n{{"name": "{call["name"]}", "arguments": {json.dumps(call["arguments"])}}}\n</tool_call>'
        for call in calls
    ]
    return "".join(f"\n{text}" if message["content"] or at else text for at, text in enumerate(texts))


def _qwen25(message: dict[str, Any]) -> str | None:
    return None if message.get("reasoning_content") else message["content"] + _qwen_calls(message)


def _qwen3(message: dict[str, Any]) -> str:
    thought = message.get("reasoning_content")
    block = f"<think>\n{thought}\n</think>\n\n" if thought else ""
    return block + message["content"] + _qwen_calls(message)


def _harmony(message: dict[str, Any]) -> str | None:
    if message.get("tool_calls"):
        return None
    thought = message.get("reasoning_content")
    block = f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant" if thought else ""
    return f"{block}<|channel|>final<|message|>{message['content']}"


def _without_newlines(message: dict[str, Any]) -> str | None:
    text = _plain(message)
    return None if text is None else text.strip("\n")


@dataclass(frozen=True)
class Family:
    template: str
    end: str
    said: Said = _plain
    lead: str = ""
    refuses: tuple[str, ...] = field(default=())
    """Kinds of conversation that the template itself refuses."""


_CHATML = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
_CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_CALLS = """{%- for call in m.tool_calls or [] %}{% set call = call.function or call %}
{{- ('\\n' if m.content or not loop.first else '') + '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{{- call.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}"""
_TOOL_TURN = "{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}"
_HEADER = "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"
_ALTERNATE = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
)

FAMILIES: dict[str, Family] = {
    "chatml": Family("{% for m in messages %}" + _CHATML + "{% endfor %}" + _CHATML_PROMPT, "<|im_end|>\n"),
    "smollm2": Family(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"
        "{% for m in messages %}" + _CHATML + "{% endfor %}" + _CHATML_PROMPT,
        "<|im_end|>\n",
    ),
    "chatml-marked": Family(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
        "{% else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}" + _CHATML_PROMPT,
        "<|im_end|>",
    ),
    "chatml-without-prompt": Family("{% for m in messages %}" + _CHATML + "{% endfor %}", "<|im_end|>\n"),
    "llama3": Family(
        "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + strftime_now('%d %b %Y') }}"
        "{{ '\\n' + (messages[0].content if messages[0].role == 'system' else '') + '<|eot_id|>' }}"
        "{% for m in messages if m.role != 'system' %}" + _HEADER + "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        "<|eot_id|>",
        _trimmed,
    ),
    "qwen2.5": Family(
        "{% for m in messages %}{% if m.role == 'tool' %}" + _TOOL_TURN + "{% elif m.role == 'assistant' %}"
        "{{ '<|im_start|>assistant\\n' + m.content }}"
        + _CALLS
        + "{{ '<|im_end|>\\n' }}{% else %}"
        + _CHATML
        + "{% endif %}{% endfor %}"
        + _CHATML_PROMPT,
        "<|im_end|>\n",
        _qwen25,
    ),
    "qwen3": Family(
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
        "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'tool' %}"
        + _TOOL_TURN
        + "{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}{% if loop.index0 > ns.last %}"
        "{{ '<think>\\n' + (m.reasoning_content or '') | trim('\\n') + '\\n</think>\\n\\n' }}{% endif %}{{ m.content }}"
        + _CALLS
        + "{{ '<|im_end|>\\n' }}{% else %}"
        + _CHATML
        + "{% endif %}{% endfor %}"
        + _CHATML_PROMPT,
        "<|im_end|>\n",
        _qwen3,
    ),
    "deepseek-r1": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
        "{{ '<|User|>' + m.content }}{% elif m.role == 'assistant' %}"
        "{{ '<|Assistant|>' + m.content.split('</think>')[-1] + '<|eos|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}",
        "<|eos|>",
    ),
    "mistral": Family(
        _ALTERNATE + "{{ bos_token }}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
        "{{ '[INST] ' }}{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}"
        "{{ m.content + '[/INST]' }}{% else %}{{ ' ' + m.content | trim + '<|eos|>' }}{% endif %}{% endfor %}",
        "<|eos|>",
        _trimmed,
        lead=" ",
        refuses=("assistant first", "tools"),
    ),
    "gemma": Family(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + _ALTERNATE
        + "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) }}"
        "{{ '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
        "<end_of_turn>\n",
        _trimmed,
        refuses=("system", "assistant first", "tools"),
    ),
    "phi3": Family(
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
        "<|end|>\n",
    ),
    "granite": Family(
        "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|eos|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
        "<|eos|>\n",
    ),
    "command-r": Family(
        "{{ bos_token }}{% for m in messages %}{{ '<|START|><|' + {'system': 'SYSTEM', 'user': 'USER', 'tool': 'SYSTEM',"
        " 'assistant': 'CHATBOT'}[m.role] + '|>' + m.content | trim + '<|END|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|START|><|CHATBOT|>' }}{% endif %}",
        "<|END|>",
        _trimmed,
    ),
    "glm4": Family(
        "{{ '[gMASK]<sop>' }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
        "",
    ),
    "harmony": Family(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|start|>assistant' }}{% if m.thinking and loop.last %}"
        "{{ '<|channel|>analysis<|message|>' + m.thinking + '<|end|><|start|>assistant' }}{% endif %}"
        "{{ '<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') }}{% else %}"
        "{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
        "<|return|>",
        _harmony,
    ),
    "smollm3": Family(
        "{{ '<|im_start|>system\\nToday: ' + strftime_now('%d %B %Y') + '\\n' }}"
        "{{ (messages[0].content if messages[0].role == 'system' else '') + '<|im_end|>\\n' }}"
        "{% for m in messages if m.role != 'system' %}{% if m.role == 'assistant' %}{% generation %}"
        "{{ '<|im_start|>assistant\\n' + m.content | trim('\\n') + '<|im_end|>\\n' }}{% endgeneration %}"
        "{% else %}" + _CHATML + "{% endif %}{% endfor %}" + _CHATML_PROMPT,
        "<|im_end|>\n",
        _without_newlines,
        lead="<|im_start|>assistant\n",
    ),
}
