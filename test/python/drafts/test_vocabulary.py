"""The counts that a draft vocabulary is chosen from."""

from __future__ import annotations

from pathlib import Path

from draftbridge.drafts.vocabulary import choose_vocabulary, sum_counts


def test_counts_of_several_files_are_summed_before_the_most_frequent_are_chosen(tmp_path: Path) -> None:
    (one := tmp_path / "one.ndjson").write_text("[4, 5]\n[2, 3]\n")
    (other := tmp_path / "other.ndjson").write_text("[9, 6]\n[2, 3]\n")
    (empty := tmp_path / "empty.ndjson").write_text("")
    counts = sum_counts([one, other, empty], 12)
    assert sorted(counts) == [(2, 6), (4, 5), (9, 6)]
    assert choose_vocabulary(counts, 2, 12).ids.tolist() == [2, 9]
    assert choose_vocabulary(counts, 1, 12).ids.tolist() == [2]
