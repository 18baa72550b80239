"""The ledger's sums, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from litefront.search.ledger import Ledger, StageTotals, totals_by_stage
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.stage_calls import STAGES
from litefront.search.study_results import StageEntry
from litefront.spaces.errors import StoreError


def test_runs_hits_failures_and_repeats_are_counted_apart() -> None:
    entries = [
        StageEntry("quantized", "a", "run", 2.0),
        StageEntry("quantized", "a", "hit", 2.0),
        StageEntry("quantized", "a", "hit", 2.0),
        StageEntry("quantized", "b", "failed", 0.5),
        StageEntry("quantized", "b", "run", 1.0),
        StageEntry("quantized", "a", "run", 4.0),
    ]
    totals = StageTotals(runs=3, hits=2, failures=1, seconds_spent=7.5, seconds_saved=4.0, repeated=1)
    assert totals_by_stage(entries) == {"quantized": totals}


def test_a_run_after_a_failure_is_no_repeat() -> None:
    entries = [StageEntry("base", "a", "failed", 1.0), StageEntry("base", "a", "run", 1.0)]
    assert totals_by_stage(entries)["base"].repeated == 0


def test_equal_keys_of_different_stages_are_no_repeat() -> None:
    entries = [StageEntry("base", "a", "run", 1.0), StageEntry("pruned", "a", "run", 1.0)]
    assert [totals.repeated for totals in totals_by_stage(entries).values()] == [0, 0]


def test_stages_come_in_the_order_of_a_candidates_life() -> None:
    entries = [StageEntry(stage, "a", "run", 1.0) for stage in reversed(STAGES)]
    assert tuple(totals_by_stage(entries)) == STAGES


def test_an_empty_ledger_has_no_stages() -> None:
    assert totals_by_stage(iter(())) == {}


def test_entries_are_read_back_in_order(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    entries = [StageEntry("base", "a", "run", 1.25), StageEntry("base", "a", "hit", 1.25)]
    for entry in entries:
        Ledger(directory).note(entry)
    assert [StageEntry(**line) for line in read_json_lines(directory.stages)] == entries


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"stages.jsonl cannot be written"):
        Ledger(RunDirectory(tmp_path / "file")).note(StageEntry("base", "a", "run", 1.0))
