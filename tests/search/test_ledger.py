"""The ledger's sums, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from litefront.search.cell_record import CellState
from litefront.search.ledger import GateSavings, Ledger, StageTotals, gate_savings, totals_by_stage
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.stage_calls import STAGES
from litefront.search.study_results import StageEntry
from litefront.spaces.errors import StoreError
from tests.search.records import make_record


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


SPENT = [
    StageEntry("screening", "s", "run", 1.0),
    StageEntry("accuracy", "a", "run", 10.0),
    StageEntry("accuracy", "b", "run", 20.0),
    StageEntry("latency", "c", "run", 4.0),
]


@pytest.mark.parametrize(
    ("gate", "stages", "facts", "savings"),
    [
        ("size", (), {}, GateSavings(1, 2, 15.0 + 4.0)),
        ("accuracy", ("accuracy",), {}, GateSavings(1, 1, 4.0)),
        # What was screened on a part of the rows is spared the rest of the accuracy run.
        ("accuracy", ("screening",), {"screening_s": 1.5}, GateSavings(1, 2, 15.0 - 1.5 + 4.0)),
        ("accuracy", ("screening",), {"screening_s": 16.0}, GateSavings(1, 2, 4.0)),
        ("latency", ("accuracy", "latency"), {}, GateSavings(1, 0, 0.0)),
    ],
)
def test_a_gate_spares_what_its_cells_never_came_to(
    gate: str, stages: tuple[str, ...], facts: dict[str, float], savings: GateSavings
) -> None:
    rejected = replace(
        make_record(state=CellState.REJECTED, facts=facts), rejected_by=gate, stages=dict.fromkeys(stages, "key")
    )
    assert gate_savings([rejected, make_record("measured")], SPENT) == {gate: savings}


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
