"""A whole study on a board over ssh: this machine builds, the board measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litefront.search.cell_record import CellState
from litefront.search.run_directory import RunDirectory
from litefront.search.study_file import StudyFile
from litefront.search.study_results import StudyResults
from tests.objectives.devices.loopback_board import LoopbackBoard, loopback_board
from tests.search.test_study_run import command
from tests.search.tiny_study import write_study


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LoopbackBoard]:
    folder = tmp_path / "board"
    folder.mkdir()
    yield from loopback_board(folder)


def study_of(board: LoopbackBoard, folder: Path, **changes: Any) -> StudyFile:
    return write_study(folder, space={"quantization": ["float32", "int8"]}, devices={"pi": board.entry(**changes)})


@pytest.mark.parametrize("options", [["--serial"], []], ids=["serial", "ray"])
def test_a_study_measures_on_the_board(options: list[str], board: LoopbackBoard, tmp_path: Path) -> None:
    board.flags("0x0")
    run = command(study_of(board, tmp_path / "study"), tmp_path / "run", *options)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    results = StudyResults.read(RunDirectory(tmp_path / "run"))
    assert results.context.device["kind"] == "ssh"
    assert [record.device for record in results.measured] == ["pi", "pi"]
    for record in results.measured:
        assert all(timing["health"]["after"]["throttled"] == 0 for timing in record.facts["timings"])
    # Two models, the rows, those that answers are compared on, the runner, and what the board was tried with.
    assert len(board.kept()) == 7
    assert not board.processes("kept-")


def test_cells_that_a_throttled_board_cannot_time_fail_with_the_reason(board: LoopbackBoard, tmp_path: Path) -> None:
    board.flags("0x50005")
    run = command(study_of(board, tmp_path / "study"), tmp_path / "run", "--serial")
    run.communicate(timeout=300)
    results = StudyResults.read(RunDirectory(tmp_path / "run"))
    assert [record.state for record in results.records] == [CellState.FAILED] * len(results.records) != []
    assert all("throttled: under-voltage and throttling" in str(record.reason) for record in results.records)


@pytest.mark.parametrize("options", [["--serial"], []], ids=["serial", "ray"])
def test_a_board_that_is_not_there_ends_the_study_before_anything_is_built(
    options: list[str], board: LoopbackBoard, tmp_path: Path
) -> None:
    board.stop()
    run = command(study_of(board, tmp_path / "study"), tmp_path / "run", *options)
    _, errors = run.communicate(timeout=300)
    board.start()
    assert run.returncode == 2
    assert "board must be reached, and stay so" in errors and "Connection refused" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "study.json").exists()
