"""The `train.*` operations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from draftbridge.bridge.handles import TABLE, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.device.determinism import nondeterminism_coded
from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import world
from draftbridge.drafts.architecture import BuildInputs
from draftbridge.drafts.registry import architecture_of
from draftbridge.settings.capture_contract import CaptureContract
from draftbridge.settings.model_settings import DraftSettings, TargetSettings
from draftbridge.settings.section import from_section
from draftbridge.settings.train_settings import TrainSettings
from draftbridge.training.batch import FeatureLayout
from draftbridge.training.snapshot import Snapshot
from draftbridge.training.staging import Staged
from draftbridge.training.step_watch import WatchedStep
from draftbridge.training.train_files import load_session, write_snapshot
from draftbridge.training.train_session import MicroStep, TrainSession


@op("train.build", "engine")
def _build(payload: Payload) -> Payload:
    here = world()
    train = from_section(TrainSettings, payload["train"], "train")
    settings = from_section(DraftSettings, payload["draft"], "draft")
    contract = from_section(CaptureContract, payload["contract"], "contract")
    architecture = architecture_of(settings.architecture)
    # CPUs compute bf16 slower than fp32, and the runs that must be bit-equal are CPU runs.
    half = train.precision == "bf16" and here.device.type == "cuda"
    built = architecture.build(
        BuildInputs(
            world=here,
            train=train,
            draft=settings,
            target=from_section(TargetSettings, payload["target"], "target"),
            contract=contract,
            raw_config=payload["draftConfig"],
            counts_files=tuple(Path(file) for file in payload["countsFiles"]),
            seed=payload["seed"],
            dtype=torch.bfloat16 if half else torch.float32,
        )
    )
    parameters = sum(parameter.numel() for parameter in built.module.parameters())
    torch.manual_seed(payload["seed"] + here.rank)
    shared = share_draft(built.module, here, train.parallel, half)
    layout = FeatureLayout(architecture.states, contract.aux_layers, contract.shape.hidden_size)
    session = TrainSession(here, shared, built.trainer, layout, train.optimizer, payload["totalSteps"])
    return {"handle": TABLE.mint(session), "parameters": parameters}


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
    with nondeterminism_coded():
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
