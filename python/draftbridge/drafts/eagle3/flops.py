"""How many floating-point operations an unroll needs, counted from the shapes of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from draftbridge.drafts.eagle3.draft import DraftConfig

# FLOP per multiply-add of a product: the forward pass (2) and the gradient by each factor (2 each).
_TRAINED, _FROZEN_INPUT = 6, 4
# Causal attention, backward included: its forward pass is two products of 2 FLOP, its backward pass computes five.
_ATTENTION = 2 * 2 * 3.5


@dataclass(frozen=True)
class Work:
    """Row counts of a batch. Tuples have one entry for each of K steps."""

    rows: int
    """All rows. Each has fused features, and a key and a value of step 0."""
    computed: tuple[int, ...]
    with_logits: tuple[int, ...]
    wanted: int
    """Rows for which the target's head is computed."""
    pairs: tuple[int, ...]
    """Pairs of a computed row and a step-0 key that it attends to."""


def unroll_flops(config: DraftConfig, work: Work, stored_teacher: bool = False) -> float:
    """Forward and backward. `stored_teacher`: only the draft's columns of the target's head are computed.

    Counts the products of the plain unroll, so that both unrolls have one measure. Leaves out attention to a row's own
    keys (0.01 %) and products that are recomputed to save memory.
    """
    hidden, queries = config.hidden_size, config.num_attention_heads * config.head_dim
    keys = 2 * config.num_key_value_heads * config.head_dim
    # With `fc_norm` the input of `fc` is trained too: its norms' weights need the gradient by it.
    fusion = _TRAINED if config.fc_norm else _FROZEN_INPUT
    first = work.rows * (fusion * 3 * hidden * hidden + _TRAINED * 2 * hidden * keys)
    layer = 2 * hidden * queries + queries * hidden + 3 * hidden * config.intermediate_size
    later = sum(work.computed[1:]) * _TRAINED * 2 * hidden * keys
    heads = sum(work.with_logits) * _TRAINED * hidden * config.draft_vocab_size
    teacher = work.wanted * 2 * hidden * (config.draft_vocab_size if stored_teacher else config.vocab_size)
    attention = sum(work.pairs) * _ATTENTION * queries
    return float(first + sum(work.computed) * _TRAINED * layer + later + heads + teacher + attention)
