"""The `train.*` operations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.device import determinism
from draftbridge.device.determinism import refusals_named
from draftbridge.distributed.parallel import share_draft, world
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig, initial_draft
from draftbridge.drafts.eagle3.teacher import FinalNorm, Teacher
from draftbridge.drafts.eagle3.ttt_loss import TttOptions
from draftbridge.drafts.eagle3.vocabulary import Vocabulary, choose_vocabulary, read_counts
from draftbridge.target.target_weights import TargetWeights, load_target_weights
from draftbridge.training.optimizer import OptimizerOptions
from draftbridge.training.snapshot import Snapshot
from draftbridge.training.staging import Staged
from draftbridge.training.step_watch import WatchedStep
from draftbridge.training.train_files import load_session, write_snapshot
from draftbridge.training.train_session import Frozen, MicroStep, TrainSession
from draftbridge.training.unrolling import Savings, row_kernels


def _contradiction(field: str, found: str, fix: str) -> BridgeError:
    return BridgeError("CONFIG_INVALID", "Draft and target do not fit together.", field=field, found=found, fix=fix)


def _target_for(config: DraftConfig, path: str, final_norm: str) -> TargetWeights:
    weights = load_target_weights(path)
    for name, tensor in (("embedding", weights.embed), ("head", weights.head)):
        if tuple(tensor.shape) != (config.vocab_size, config.hidden_size):
            expected = f"the draft says [{config.vocab_size}, {config.hidden_size}]"
            found = f"target {name} {list(tensor.shape)}, {expected}"
            raise _contradiction("draft.config", found, "set vocab_size and hidden_size to the target's")
    if final_norm == "pre" and weights.norm is None:
        raise _contradiction("target.model", "no final norm", "capture features after the final norm")
    return weights


def _first_draft(config: DraftConfig, init: str, seed: int, head: Tensor, vocabulary: Vocabulary) -> Draft:
    draft = initial_draft(config, seed)
    if init == "target-head":
        with torch.no_grad():
            draft.lm_head.weight.copy_(head[vocabulary.ids])
    return draft


def _ttt_options(raw: Payload) -> TttOptions:
    return TttOptions(
        steps=raw["steps"],
        decay=raw["decay"],
        loss=raw["loss"],
        kl_scale=raw["klScale"],
        kl_decay=raw["klDecay"],
        reduction=raw["reduction"],
        mask_offset=raw["maskOffset"],
    )


def _optimizer_options(raw: Payload, total_steps: int) -> OptimizerOptions:
    return OptimizerOptions(
        lr=raw["lr"],
        betas=(raw["betas"][0], raw["betas"][1]),
        weight_decay=raw["weightDecay"],
        clip=raw["clip"],
        warmup_ratio=raw["warmupRatio"],
        schedule=raw["schedule"],
        total_steps=total_steps,
    )


@op("train.build", "engine")
def _build(payload: Payload) -> Payload:
    here = world()
    config = DraftConfig.from_dict(payload["draft"])
    weights = _target_for(config, payload["target"], payload["finalNorm"])
    counts = read_counts(Path(payload["counts"]), config.vocab_size)
    vocabulary = choose_vocabulary(counts, config.draft_vocab_size, config.vocab_size)
    draft = _first_draft(config, payload["init"], payload["seed"], weights.head, vocabulary)
    parameters = sum(parameter.numel() for parameter in draft.parameters())
    # CPUs compute bf16 slower than fp32, and the runs that must be bit-equal are CPU runs.
    half = payload["precision"] == "bf16" and here.device.type == "cuda"
    dtype = torch.bfloat16 if half else torch.float32
    tied = weights.head is weights.embed
    head = weights.head.to(here.device, dtype)
    embedding = head if tied else weights.embed.to(here.device, dtype)
    norm = None
    if payload["finalNorm"] == "pre" and weights.norm is not None:
        norm = FinalNorm(weights.norm.to(here.device, dtype), config.rms_norm_eps)
    teacher = Teacher(head, vocabulary.ids, norm, kernels=row_kernels(here.device, dtype))
    frozen = Frozen(embedding, teacher, vocabulary, config, payload["draft"])
    torch.manual_seed(payload["seed"] + here.rank)
    session = TrainSession(
        here,
        share_draft(draft, here, payload["parallel"], half),
        frozen,
        _ttt_options(payload["ttt"]),
        _optimizer_options(payload["optimizer"], payload["totalSteps"]),
        Savings(_fused(payload["unroll"], half), payload["compact"], payload["recompute"], payload["storedTeacher"]),
    )
    return {"handle": TABLE.mint(session), "parameters": parameters}


def _fused(unroll: str, half: bool) -> bool:
    """The backward pass of the fused unroll's attention adds up in any order on a GPU."""
    return (half and not determinism.is_on()) if unroll == "auto" else unroll == "fused"


def session_of(payload: Payload) -> TrainSession:
    return TABLE.borrow(payload["session"], TrainSession)


@op("batch.build", "io")
def _stage(payload: Payload) -> Payload:
    samples = [tensors_of(handle) for handle in payload["samples"]]
    staged = session_of(payload).staging.stage(samples, payload["maxLength"])
    sizes = {"tokens": staged.tokens, "positions": staged.positions, "lossTokens": staged.loss_tokens}
    return {"handle": TABLE.mint(staged), **sizes}


@op("train.step", "engine")
def _step(payload: Payload) -> Payload:
    names = ("positions", "window", "boundary", "stop", "lost", "saved")
    micro = MicroStep(*(payload[name] for name in names))
    with refusals_named():
        report = session_of(payload).step(TABLE.borrow(payload["batch"], Staged), micro)
    agreed = {"stop": report.stop, "lost": report.lost, "saved": report.saved}
    about = {"stepped": report.stepped, "globalStep": report.global_step, "watched": _watched(report.watched)}
    return {**about, **agreed}


def _watched(steps: Sequence[WatchedStep]) -> list[Payload]:
    return [{"step": seen.step, "loss": seen.loss, "gradNorm": seen.norm} for seen in steps]


@op("train.metrics", "engine")
def _metrics(payload: Payload) -> Payload:
    session = session_of(payload)
    return {**session.read_metrics(), "watched": _watched(session.watched())}


@op("train.snapshot", "engine")
def _snapshot(payload: Payload) -> Payload:
    snapshot = session_of(payload).snapshot()
    return {"handle": None if snapshot is None else TABLE.mint(snapshot)}


@op("snapshot.write", "bulk")
def _write(payload: Payload) -> Payload:
    return {"files": write_snapshot(TABLE.borrow(payload["snapshot"], Snapshot), Path(payload["dir"]))}


@op("train.load", "engine")
def _load(payload: Payload) -> Payload:
    session = session_of(payload)
    load_session(session, Path(payload["dir"]))
    return {"globalStep": session.global_step}
