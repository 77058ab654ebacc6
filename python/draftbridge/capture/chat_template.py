"""The chat template of a target, as text: what it renders, and what it marks as generated."""

from __future__ import annotations

import datetime
import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
Span = tuple[int, int]
_MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class ChatTemplate:
    """Renders conversations for one target. `today`: the date that a template writes; without one, the real date."""

    tokenizer: PreTrainedTokenizerBase
    tools: list[dict[str, Any]] | None = None
    today: datetime.date | None = None

    @property
    def text(self) -> str:
        """Raises CONFIG_INVALID where the target has no template for these conversations."""
        given: Any = self.tokenizer.chat_template
        if isinstance(given, str):
            return given
        names = sorted(given) if isinstance(given, dict) else []
        name = "tool_use" if self.tools and "tool_use" in names else "default"
        if name in names:
            return str(given[name])
        raise BridgeError(
            "CONFIG_INVALID",
            "the target has no chat template, so messages cannot be turned into tokens",
            field="target.tokenizer",
            found=f"templates of the names {', '.join(names)}" if names else "no template",
            fix="name a tokenizer with a chat template, or give input_ids and loss_start",
        )

    @property
    def has_markers(self) -> bool:
        return _MARKERS.search(self.text) is not None

    def render(self, messages: list[Message], *, prompt: bool = False) -> str:
        """Raises FEATURE_INVALID for messages that the template refuses. `prompt`: with the header of an answer."""
        return self._rendered(messages, prompt, marked=False)[0]

    def marked(self, messages: list[Message]) -> tuple[str, list[Span]]:
        """The text, and the places in it that the template marks as generated."""
        return self._rendered(messages, False, marked=True)

    def _rendered(self, messages: list[Message], prompt: bool, *, marked: bool) -> tuple[str, list[Span]]:
        library: Any = importlib.import_module("transformers.utils.chat_template_utils")
        given = {**self.tokenizer.special_tokens_map, **self._clock()}
        try:
            texts, spans = library.render_jinja_template(
                conversations=[messages],
                tools=self.tools,
                chat_template=self.text,
                add_generation_prompt=prompt,
                return_assistant_tokens_mask=marked,
                **given,
            )
        except BridgeError:
            raise
        except Exception as exc:
            raise _unrendered(exc) from exc
        return str(texts[0]), [(int(begin), int(end)) for begin, end in spans[0]] if marked else []

    def _clock(self) -> dict[str, Any]:
        # Templates ask for the date by a function that the library gives them; what is given here goes before it.
        today = self.today
        return {} if today is None else {"strftime_now": lambda form: today.strftime(form)}


def writes_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether some template of the tokenizer asks for the date."""
    return "strftime_now" in str(tokenizer.chat_template)


def _unrendered(exc: Exception) -> BridgeError:
    lines = str(exc).strip().splitlines()
    return BridgeError(
        "FEATURE_INVALID",
        "the chat template cannot render this conversation",
        field="messages",
        found=f"{type(exc).__name__}: {lines[0][:300] if lines else ''}",
        fix="bring the roles into the order that the model expects",
    )
