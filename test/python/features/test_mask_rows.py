"""Masks come from the row with the tokens of the file, or it is refused; damaged data sets are never half read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.features.arrow_stream import ArrowColumns, NotArrow
from draftbridge.features.mask_rows import COLUMNS, MaskRows, open_masks
from features.arrow_rows import ROWS, arrow_stream, saved_rows


def test_rows_of_a_stream_are_read_beside_other_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.arrow"
    file.write_bytes(arrow_stream())
    found = ArrowColumns(file, COLUMNS)
    assert [tuple(part.tolist() for part in found.row(row)) for row in range(len(found))] == ROWS


def test_a_stream_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    file, whole = tmp_path / "a.arrow", arrow_stream()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(NotArrow):
            ArrowColumns(file, COLUMNS)


def test_a_stream_with_any_byte_changed_is_refused_or_read_within_its_bounds(tmp_path: Path) -> None:
    file, whole = tmp_path / "a.arrow", arrow_stream()
    refused = 0
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1 :])
        try:
            found = ArrowColumns(file, COLUMNS)
            rows = [found.row(row) for row in range(len(found))]
            assert len(rows) <= 3
        except NotArrow:
            refused += 1
    assert refused > 300


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.arrow"
    file.write_bytes(arrow_stream())
    with pytest.raises(NotArrow, match="no column labels; there are input_ids"):
        ArrowColumns(file, ("input_ids", "labels"))


def lines(path: Path, rows: list[tuple[list[int], list[int]]]) -> str:
    path.write_text("\n".join(json.dumps({"input_ids": ids, "loss_mask": mask}) for ids, mask in rows) + "\n")
    return str(path)


@pytest.fixture(params=["arrow", "jsonl"])
def masks(request: pytest.FixtureRequest, tmp_path: Path) -> MaskRows:
    if request.param == "arrow":
        return open_masks(str(saved_rows(tmp_path / "rows")))
    return open_masks(lines(tmp_path / "rows.jsonl", ROWS + ROWS))


def test_a_mask_is_that_of_the_row_or_of_the_tokens(masks: MaskRows) -> None:
    assert len(masks) == 6
    for row, (ids, mask) in enumerate(ROWS + ROWS):
        tokens = torch.tensor([ids], dtype=torch.int32)
        assert masks.mask_for(tokens, row, "hs").tolist() == mask
        assert masks.mask_for(tokens, None, "other").tolist() == mask


@pytest.mark.parametrize(
    ("ids", "row", "field"),
    [([5, 6, 7, 301], 0, "token_ids"), ([5, 6, 7], 0, "token_ids"), ([9], 6, "loss_mask"), ([8], None, "loss_mask")],
)
def test_tokens_of_no_row_are_refused(masks: MaskRows, ids: list[int], row: int | None, field: str) -> None:
    with pytest.raises(BridgeError) as caught:
        masks.mask_for(torch.tensor(ids), row, "file")
    assert caught.value.code == "FEATURE_INVALID"
    assert caught.value.details["field"] == field


def test_equal_tokens_with_several_masks_need_the_number_of_their_row(tmp_path: Path) -> None:
    masks = open_masks(lines(tmp_path / "rows.jsonl", [([1, 2], [0, 1]), ([1, 2], [1, 1])]))
    assert masks.mask_for(torch.tensor([1, 2]), 1, "hs").tolist() == [1, 1]
    with pytest.raises(BridgeError) as caught:
        masks.mask_for(torch.tensor([1, 2]), None, "file")
    assert "hs_N.safetensors" in caught.value.details["fix"]


@pytest.mark.parametrize("text", ["", "no rows\n", '{"input_ids": [1]}\n', "[1, 2]\n"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.arrow"])
def test_a_file_that_holds_no_rows_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(BridgeError) as caught:
        open_masks(str(file))
    assert (caught.value.code, caught.value.details["file"]) == ("CONFIG_INVALID", str(file))


def test_what_the_masks_are_read_from_has_another_digest_when_it_changes(tmp_path: Path) -> None:
    before = open_masks(lines(tmp_path / "rows.jsonl", ROWS)).digest
    assert open_masks(lines(tmp_path / "same.jsonl", ROWS)).digest == before
    assert open_masks(lines(tmp_path / "rows.jsonl", [*ROWS[:2], ([4, 4, 4], [1, 1, 1])])).digest != before
