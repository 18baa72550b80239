"""How far a run is, counted by hand, and whether it still goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from litefront.search.cell_record import CellState
from litefront.search.run_directory import RunDirectory
from litefront.search.run_status import savings_text, stage_rows, status_row
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
