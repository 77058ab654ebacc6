"""The chat template of a tokenizer, and its `{% generation %}` markers as signs in the rendered text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEGIN, END = "\uf8f0\uf8f1", "\uf8f2\uf8f3"
"""Private characters: a conversation that has them itself is refused, never read wrongly."""
_BEGIN_TAG = re.compile(r"\{%([-+]?)\s*generation\s*([-+]?)%\}")
_END_TAG = re.compile(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}")


def template_of(tokenizer: PreTrainedTokenizerBase, *, tools: bool = False) -> str:
    """The template for conversations with or without tools. Raises CONFIG_INVALID if there is none."""
    template: Any = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("tool_use" if tools and "tool_use" in template else "default")
    if isinstance(template, str):
        return template
    raise BridgeError(
        "CONFIG_INVALID",
        "the target has no chat template, so messages cannot be turned into tokens",
        field="target.tokenizer",
        found="no template" if tokenizer.chat_template is None else "several templates, none called default",
        fix="name a tokenizer with a chat template, or give input_ids and loss_start",
    )


def writes_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a template of the tokenizer asks for the current date."""
    return "strftime_now" in str(tokenizer.chat_template)


def has_markers(template: str) -> bool:
    return _BEGIN_TAG.search(template) is not None


@lru_cache(maxsize=16)
def signed(template: str) -> str:
    """`template` with a sign in the text where each marked part begins and ends.

    Each tag becomes two block tags around a sign, so that white space is trimmed outside and inside as before.
    """
    opened = _BEGIN_TAG.sub(rf"{{%\1 if true %}}{{{{ '{BEGIN}' }}}}{{% if true \2%}}", template)
    return _END_TAG.sub(rf"{{%\1 endif %}}{{{{ '{END}' }}}}{{% endif \2%}}", opened)


def without_signs(text: str) -> tuple[str, list[tuple[int, int]]] | None:
    """The text and the marked spans in it. None if begins and ends do not pair."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    depth, length, begin = 0, 0, 0
    for part in re.split(f"({BEGIN}|{END})", text):
        if part == BEGIN:
            begin = length if depth == 0 else begin
            depth += 1
        elif part == END:
            depth -= 1
            if depth == 0:
                spans.append((begin, length))
        else:
            parts.append(part)
            length += len(part)
        if depth < 0:
            return None
    return ("".join(parts), spans) if depth == 0 else None
