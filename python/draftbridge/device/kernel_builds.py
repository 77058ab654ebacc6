"""How often Triton has compiled a kernel, or loaded one from its cache, in this process.

Either takes milliseconds to seconds, so a step that has warmed up must do neither. Nothing here goes through
torch.compile: there are no graphs that could break.
"""

from __future__ import annotations

from typing import Any

_built = 0
_watching = False


def built() -> int:
    """Since `watch`; 0 where no kernel is Triton's."""
    return _built


def watch() -> None:
    """Counts builds from now on. A hook that was set before is still called."""
    global _watching
    if _watching:
        return
    _watching = True
    from triton import knobs

    before: Any = knobs.runtime.jit_post_compile_hook

    def counted(**about: Any) -> Any:
        global _built
        _built += 1
        return before(**about) if before else None

    knobs.runtime.jit_post_compile_hook = counted
