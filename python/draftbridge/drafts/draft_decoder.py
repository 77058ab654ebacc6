"""A draft while it decodes: what chain decoding asks of an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor


class DraftDecoder(ABC):
    """Proposes tokens for one sequence at a time. Guesses never stay: the next `commit` overwrites them."""

    @abstractmethod
    def start(self, capacity: int) -> None:
        """Begin a sequence that will never hold more than `capacity` rows, guesses included."""

    @abstractmethod
    def commit(self, states: Mapping[str, Tensor], next_tokens: Sequence[int]) -> None:
        """Append n confirmed rows: `states` [1, n, width] by feature name, and the tokens that follow each of them."""

    @abstractmethod
    def propose(self, count: int) -> list[int]:
        """At most `count` target ids that the draft expects after the last committed token, each its likeliest."""
