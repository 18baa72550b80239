"""How far a run is, counted by hand, and whether it still goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.convergence import LatestGain
from litefront.search.run_directory import RunDirectory
from litefront.search.run_status import (
    block_curve,
    gain_text,
    savings_text,
    seconds_per_cell,
    stage_rows,
    status_row,
    status_texts,
)
from litefront.search.study_results import StageEntry, StudyResults
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from tests.search.records import make_record, make_results

LEDGER = (
    StageEntry("latency", "l", "run", 1.25),
    StageEntry("base", "b", "run", 10.0),
    StageEntry("base", "b", "hit", 10.0),
    StageEntry("base", "b", "hit", 10.0),
    StageEntry("latency", "l", "run", 1.25),
    StageEntry("latency", "m", "failed", 0.5),
)
RECORDS = [
    replace(make_record("a", accuracy=0.9, size_bytes=4000, latency_ms=2.0), finished_at="2025-01-01T02:00:00+00:00"),
    replace(
        make_record("b", config=DeploymentConfig(num_threads=2), accuracy=0.9, size_bytes=4000, latency_ms=3.0),
        finished_at="2025-01-01T03:00:00+00:00",
    ),
    make_record("c", config=DeploymentConfig(quantization=Quantization.INT8), state=CellState.REJECTED),
    make_record("d", config=DeploymentConfig(batch_size=4), state=CellState.FAILED),
]


def results_in(directory: Path, records: list = RECORDS, **keys: object) -> StudyResults:
    return replace(make_results(records, directory=directory, **keys), ledger=LEDGER)


def test_cells_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    row = status_row(results_in(tmp_path))
    assert (row["measured"], row["rejected"], row["failed"], row["front"]) == (2, 1, 1, 1)
    assert (row["study"], row["directory"]) == ("by-hand", str(tmp_path))
    assert (row["started"], row["last_cell"]) == ("2025-01-01T00:00:00+00:00", "2025-01-01T03:00:00+00:00")


@pytest.mark.parametrize(("budget", "target"), [({}, 4), ({"cells": 3}, 3), ({"cells": 100}, 4)])
def test_the_target_is_the_budget_or_all_cells_that_can_work(tmp_path: Path, budget: dict, target: int) -> None:
    assert status_row(results_in(tmp_path, budget=budget))["target"] == target


def test_a_run_without_cells_has_a_status(tmp_path: Path) -> None:
    row = status_row(results_in(tmp_path, []))
    assert (row["measured"], row["front"], row["hypervolume"], row["last_cell"]) == (0, 0, None, None)
    assert (row["curve"], row["latest_gain"], row["seconds_per_cell"], row["uncertain"]) == ([], None, None, 0)


def minutes_after_the_start(record: CellRecord, minutes: int) -> CellRecord:
    return replace(record, finished_at=f"2025-01-01T{minutes // 60:02}:{minutes % 60:02}:00+00:00")


def with_a_late_find() -> list[CellRecord]:
    """A baseline and 24 cells of its figures, one every two minutes; the 21st has a tenth of its latency."""
    config = DeploymentConfig(num_threads=2)
    latencies = [2.0] * 20 + [0.2] + [2.0] * 4
    return [
        minutes_after_the_start(
            make_record(str(i), config=config if i else None, accuracy=0.9, size_bytes=10, latency_ms=latency),
            2 * i + 2,
        )
        for i, latency in enumerate(latencies)
    ]


def test_the_curve_and_the_latest_gain_are_numbers_for_tools(tmp_path: Path) -> None:
    row = status_row(results_in(tmp_path, with_a_late_find()))
    assert row["curve"] == [1.0] * 20 + [2.0] * 5
    assert (row["hypervolume"], row["latest_gain"]) == (2.0, {"cells": 20, "share": 0.5})
    assert row["seconds_per_cell"] == 120


def test_the_curve_and_the_latest_gain_are_texts_for_people(tmp_path: Path) -> None:
    texts = status_texts(status_row(results_in(tmp_path, with_a_late_find())))
    assert texts["curve"] == "1 " + "▁" * 20 + "█" * 5 + " 2"
    assert texts["latest_gain"] == (
        "the last 20 cells added 50.00% of the hypervolume; "
        "20 more, about 40 min, are not expected to add more than that"
    )
    assert "seconds_per_cell" not in texts


def test_few_cells_and_none_are_told_in_words(tmp_path: Path) -> None:
    texts = status_texts(status_row(results_in(tmp_path)))
    assert (texts["latest_gain"], texts["measured"]) == ("too few cells to say", "2")
    empty = status_texts(status_row(results_in(tmp_path, [])))
    assert (empty["curve"], empty["hypervolume"], empty["last_cell"]) == ("", "", "")


def test_members_that_another_cell_may_beat_are_uncertain(tmp_path: Path) -> None:
    close = make_record("c", config=DeploymentConfig(num_threads=2), accuracy=0.9, size_bytes=4000, latency_ms=2.005)
    small = make_record("s", config=DeploymentConfig(batch_size=4), accuracy=0.8, size_bytes=1000, latency_ms=2.0)
    row = status_row(results_in(tmp_path, [RECORDS[0], close, small]))
    assert (row["front"], row["uncertain"]) == (2, 1)
    assert status_texts(row)["uncertain"] == "1 of them, with a probability below 95%"


def test_the_time_a_cell_is_that_of_the_latest_run_alone(tmp_path: Path) -> None:
    earlier = replace(RECORDS[0], finished_at="2024-12-31T23:00:00+00:00")
    assert seconds_per_cell(results_in(tmp_path, [earlier])) is None
    assert seconds_per_cell(results_in(tmp_path, [earlier, RECORDS[1]])) == 3 * 3600


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "20 more are not"), (2.0, "more, about 40 s, are"), (30.0, "more, about 10 min, are")]
)
def test_what_more_budget_buys_has_its_time_where_it_is_known(seconds: float | None, text: str) -> None:
    assert text in gain_text(LatestGain(20, 0.01), seconds)


@pytest.mark.parametrize(
    ("values", "blocks"),
    [([3.0], "▁"), ([1.0, 1.0], "▁▁"), ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([0.0, 10.0], "▁█")],
)
def test_a_curve_is_a_line_of_blocks(values: list[float], blocks: str) -> None:
    assert block_curve(values) == blocks


def test_a_long_curve_keeps_its_ends_within_the_width() -> None:
    blocks = block_curve([0.0] + [1.0] * 9998 + [2.0])
    assert len(blocks) == 60
    assert (blocks[0], blocks[-1]) == ("▁", "█")


def test_a_run_is_running_while_a_process_holds_its_lock(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    assert not status_row(results)["running"]
    with RunDirectory(tmp_path).lock():
        assert status_row(results)["running"]
    assert not status_row(results)["running"]


def test_asking_for_the_status_leaves_the_run_directory_as_it_is(tmp_path: Path) -> None:
    status_row(results_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_stages_are_summed_up_in_order(tmp_path: Path) -> None:
    assert stage_rows(results_in(tmp_path)) == [
        {
            "stage": "base",
            "runs": 1,
            "hits": 2,
            "failures": 0,
            "seconds_spent": 10.0,
            "seconds_saved": 20.0,
            "repeated": 0,
        },
        {
            "stage": "latency",
            "runs": 2,
            "hits": 0,
            "failures": 1,
            "seconds_spent": 3.0,
            "seconds_saved": 0.0,
            "repeated": 1,
        },
    ]


def test_savings_in_one_line(tmp_path: Path) -> None:
    line = savings_text(results_in(tmp_path))
    assert line == "stages: 3 runs in 13 s, 2 hits that saved 20 s, 1 run twice, 1 failed"
