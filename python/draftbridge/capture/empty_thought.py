"""A block of thoughts with nothing in it belongs to the prompt: the template puts it there, and engines that switch
thinking off do so too."""

from __future__ import annotations

import re
from dataclasses import replace

from draftbridge.capture.message_forms import Message
from draftbridge.capture.turn_spans import Turn

_EMPTY = re.compile(r"\s*<(?P<name>[^<>/]*think[^<>/]*)>\s*</(?P=name)>(?P<after>\s*)", re.IGNORECASE)


def without_empty_thought(turn: Turn, message: Message) -> Turn:
    """`turn` without the empty block that its reply begins with. One that the assistant said itself stays."""
    content = str(message.get("content") or "")
    found = _EMPTY.match(turn.replies[0])
    if found is None or _EMPTY.match(content):
        return turn
    # The blanks that the words themselves begin with are theirs.
    size = found.end()
    for blanks in range(len(content) - len(content.lstrip()), 0, -1):
        if found["after"].endswith(content[:blanks]) and turn.replies[0][size - blanks :].startswith(content.rstrip()):
            size -= blanks
            break
    (begin, end), *others = turn.spans
    reply, *more = turn.replies
    return replace(turn, spans=((begin + size, end), *others), replies=(reply[size:], *more))
