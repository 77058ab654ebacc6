"""The two ways in which ranks share a draft: sharded, or whole on each of them."""

from __future__ import annotations

from torch import nn

from draftbridge.distributed.shared_draft import ReplicatedDraft, SharedDraft
from draftbridge.distributed.world import World


def share_draft(draft: nn.Module, world: World, kind: str, half: bool) -> SharedDraft:
    """Give `draft` to all ranks; it must be equal on all of them. `half`: FSDP gathers the weights in bf16; the
    optimised weights stay fp32."""
    draft.to(world.device)
    if kind != "fsdp":
        return ReplicatedDraft(draft, world)
    # Imported here because it takes a second, which every command would wait for.
    from draftbridge.distributed.fsdp_draft import FsdpDraft

    return FsdpDraft(draft, world, half)
