"""A small draft with its target, for tests: real sizes do not matter to any rule of the loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import World
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig, initial_draft
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.vocabulary import Vocabulary, choose_vocabulary
from draftbridge.golden.eagle3_session import eagle3_session, feature_layout
from draftbridge.settings.capture_contract import CaptureContract, TargetShape
from draftbridge.settings.train_settings import OptimizerSettings, SaveSettings, TrainSettings, TttSettings
from draftbridge.training.batch import Batch
from draftbridge.training.train_files import write_snapshot
from draftbridge.training.train_session import TrainSession
from torch import Tensor

CONFIG = DraftConfig(
    hidden_size=16,
    intermediate_size=24,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    vocab_size=40,
    draft_vocab_size=17,
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    max_position_embeddings=64,
)
RAW_CONFIG = {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__}
OPTIMIZER = OptimizerSettings(
    lr=1e-2, betas=(0.9, 0.999), weight_decay=0.0, clip=0.5, warmup_ratio=0.1, schedule="cosine"
)
TOTAL_STEPS = 20


def ttt_settings(**changed: Any) -> TttSettings:
    """The defaults of the configuration, but for what is `changed`."""
    usual = TttSettings(steps=7, decay=0.8, loss="ce", kl_scale=1.0, kl_decay=1.0, reduction="all", mask_offset=0)
    return replace(usual, **changed)


SETTINGS = TrainSettings(
    epochs=10,
    max_steps=None,
    batch={"samples": 1},
    accumulate=1,
    shuffle=True,
    precision="bf16",
    parallel="fsdp",
    unroll="auto",
    compact=True,
    recompute=False,
    stored_teacher=True,
    ttt=ttt_settings(),
    optimizer=OPTIMIZER,
    log_interval=50,
    save=SaveSettings(every=500, keep=3),
    prefetch=2,
    prefetch_bytes=1 << 32,
    max_corrupt_share=0.0,
    validation=None,
    spikes=None,
    tensorboard=False,
    deterministic=False,
)
"""As the configuration has them by default, but for the optimiser."""


CONTRACT = CaptureContract(
    target="small",
    target_hash="small",
    shape=TargetShape(16, 24, 6, 4, 2, 6, 40, 1e-6, 10000.0, 64, None, ()),
    aux_layers=(1, 2, 2),
    layer_convention="output",
    final_norm="post",
    dtype="float32",
    mask_rule="from-file",
    tokenizer_hash=None,
    template_hash=None,
)


LAYOUT = feature_layout(CONFIG.hidden_size)


def as_section(settings: Any) -> dict[str, Any]:
    """The other way of `from_section`, as the bridge brings it."""

    def named(value: Any) -> Any:
        return {camel_case(key): named(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    def camel_case(key: str) -> str:
        first, *others = key.split("_")
        return first + "".join(map(str.capitalize, others))

    found: dict[str, Any] = named(asdict(settings))
    return found


@dataclass
class SmallCase:
    """Frozen parts in `dtype`; weights large enough that nothing is close to uniform."""

    dtype: torch.dtype = torch.float64
    seed: int = 0
    config: DraftConfig = CONFIG
    generator: torch.Generator = field(init=False)
    embedding: Tensor = field(init=False)
    head: Tensor = field(init=False)
    vocabulary: Vocabulary = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.embedding = self.random(CONFIG.vocab_size, CONFIG.hidden_size)
        self.head = self.random(CONFIG.vocab_size, CONFIG.hidden_size)
        counts = [(token, 1 + token * 7 % 11) for token in range(3, 30)]
        self.vocabulary = choose_vocabulary(counts, CONFIG.draft_vocab_size, CONFIG.vocab_size)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def draft(self) -> Draft:
        draft = initial_draft(self.config, 1).to(self.dtype)
        with torch.no_grad():
            for parameter in draft.parameters():
                parameter.mul_(10 if parameter.dim() == 2 else 1.3)
        return draft

    def teacher(self, chunk: int = 13) -> Teacher:
        return Teacher(self.head, self.vocabulary.ids, chunk=chunk)

    def sample(self, mask: list[int]) -> TensorDict:
        rows = len(mask)
        return {
            "input_ids": torch.randint(0, CONFIG.vocab_size, (rows,), generator=self.generator),
            "loss_mask": torch.tensor(mask),
            "hidden_state": self.random(rows, CONFIG.hidden_size),
            "aux_hidden_state": self.random(rows, 3 * CONFIG.hidden_size),
        }

    def session(
        self,
        world: World,
        ttt: TttSettings,
        kind: str = "fsdp",
        optimizer: OptimizerSettings = OPTIMIZER,
        fused: bool = False,
        stored_teacher: bool = True,
    ) -> TrainSession:
        raw = {name: getattr(self.config, name) for name in self.config.__dataclass_fields__}
        frozen = Frozen(self.embedding, self.teacher(), self.vocabulary, self.config)
        draft = share_draft(self.draft(), world, kind, False)
        settings = replace(SETTINGS, ttt=ttt, optimizer=optimizer, stored_teacher=stored_teacher)
        return eagle3_session(world, draft, frozen, settings, TOTAL_STEPS, fused, raw)


MASKS = ([0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 0, 0, 1])


def save(session: TrainSession, folder: Path) -> list[dict[str, Any]]:
    """A checkpoint, all at once; answers with its files on the rank that writes. A collective."""
    snapshot = session.snapshot()
    if snapshot is None:
        return []
    folder.mkdir(exist_ok=True)
    try:
        return write_snapshot(snapshot, folder)
    finally:
        snapshot.close()


def batch_of(*samples: TensorDict) -> Batch:
    return LAYOUT.collate(samples, 64)
