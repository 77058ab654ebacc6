"""Writes features as vLLM extracts them, with the masks of a data set beside them, and the same features as SpecForge
writes them.

    python test/support/make_extracted.py TARGET OUT [--count 5]

OUT/extracted/hidden_states/hs_N.safetensors, OUT/extracted/rows.jsonl and OUT/specforge/hs_N.ckpt; in OUT/torchspec the
form of TorchSpec, with one sample of its evaluation. All are states of the target, whose last norm is applied only in
OUT/specforge.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from draftbridge.target.target import load_model
from safetensors.torch import save_file


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=5)
    given = parser.parse_args()
    model = load_model(given.target, torch.float32)
    inner = model.model
    seen: list[torch.Tensor] = []
    inner.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    layers = model.config.num_hidden_layers
    for name in ("extracted/hidden_states", "specforge", "torchspec/samples"):
        (given.out / name).mkdir(parents=True)
    rows, listed = [], []
    for index in range(given.count):
        length = 9 + 5 * index % 13
        ids = torch.randint(
            3, 40, (length,), generator=torch.Generator().manual_seed(index)
        )
        mask = (torch.arange(length) >= length // 3).long()
        with torch.no_grad():
            states = model(ids[None], output_hidden_states=True).hidden_states
        aux = [states[at][0] for at in (2, layers // 2, layers - 3)]
        last = seen.pop()
        save_file(
            {"hidden_states": torch.stack([*aux, last], 1), "token_ids": ids},
            given.out / "extracted" / "hidden_states" / f"hs_{index}.safetensors",
        )
        rows.append({"input_ids": ids.tolist(), "loss_mask": mask.tolist()})
        specforge = {
            "input_ids": ids,
            "loss_mask": mask,
            "hidden_state": states[-1],
            "aux_hidden_state": torch.cat(aux, -1)[None],
        }
        torch.save(specforge, given.out / "specforge" / f"hs_{index}.ckpt")
        torchspec = {
            "input_ids": ids[None],
            "hidden_states": specforge["aux_hidden_state"],
            "last_hidden_states": last[None].clone(),
            "packed_loss_mask": f"{length // 3},{length - length // 3}",
            "data_id": str(index),
            "metadata": {},
        }
        torch.save(torchspec, given.out / "torchspec" / "samples" / f"hs_{index}.pt")
        split = "eval" if index == 0 else "train"
        listed.append(
            {"split": split, "data_id": str(index), "file": f"samples/hs_{index}.pt"}
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (given.out / "extracted" / "rows.jsonl").write_text(text)
    text = "".join(json.dumps(row) + "\n" for row in listed)
    (given.out / "torchspec" / "manifest.jsonl").write_text(text)
    about = {"version": 1, "last_hidden_states_prenorm": True}
    (given.out / "torchspec" / "dataset.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
