"""The files that a run leaves: the front as other tools read it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from litefront.search.cell_record import CellState
from litefront.search.outputs import front_content, front_rows, front_text, write_front
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import StoreError
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Sparsity
from tests.search.records import make_record, make_results

INT8 = DeploymentConfig(quantization=Quantization.INT8)
WORSE = DeploymentConfig(num_threads=2)


def results_in(directory: Path, *, measured: bool = True) -> StudyResults:
    """A baseline, a cell that trades accuracy for size and latency, one that the baseline beats, and a failed one."""
    records = [
        make_record("base", accuracy=0.9, size_bytes=4000, latency_ms=2.0),
        make_record("int8", config=INT8, accuracy=0.8, size_bytes=1000, latency_ms=1.0),
        make_record("worse", config=WORSE, accuracy=0.9, size_bytes=4000, latency_ms=3.0),
        make_record("failed", config=DeploymentConfig(batch_size=4), state=CellState.FAILED),
    ]
    return make_results(records if measured else [], directory=directory)


def test_rows_are_the_cells_that_no_other_beats(tmp_path: Path) -> None:
    assert [row["cell"] for row in front_rows(results_in(tmp_path))] == ["base", "int8"]


def test_a_row_has_every_figure_that_was_obtained(tmp_path: Path) -> None:
    _, row = front_rows(results_in(tmp_path))
    assert {name: figure["value"] for name, figure in row["figures"].items()} == {
        "accuracy": 0.8,
        "size_bytes": 1000,
        "latency_ms": 1.0,
    }
    assert row["relative"] == {"accuracy": pytest.approx(-0.1), "size_bytes": 0.25, "latency_ms": 0.5}


def results_with_ties(directory: Path) -> StudyResults:
    """Two members of equal values, a cell half a per cent slower than them, and one that is far slower."""
    records = [
        make_record("base", accuracy=0.9, size_bytes=4000, latency_ms=2.0),
        make_record("twin", config=DeploymentConfig(batch_size=4), accuracy=0.9, size_bytes=4000, latency_ms=2.0),
        make_record("close", config=WORSE, accuracy=0.9, size_bytes=4000, latency_ms=2.01),
        make_record(
            "slow", config=DeploymentConfig(sparsity=Sparsity(0.5)), accuracy=0.9, size_bytes=4000, latency_ms=9.0
        ),
    ]
    return make_results(records, directory=directory)


def test_a_row_says_how_sure_its_place_is(tmp_path: Path) -> None:
    first, second = front_rows(results_with_ties(tmp_path))
    assert 0.2 < first["p_front"] < 0.6
    assert (first["timings"], second["timings"]) == (1, 1)
    assert first["ties"] == [DeploymentConfig(batch_size=4).label(), WORSE.label()]
    assert second["ties"] == [DeploymentConfig().label(), WORSE.label()]


def test_a_cell_that_no_other_comes_near_has_no_ties(tmp_path: Path) -> None:
    assert [(row["p_front"], row["ties"]) for row in front_rows(results_in(tmp_path))] == [(1.0, []), (1.0, [])]


def test_cells_that_only_the_noise_keeps_off_the_front_are_in_the_content(tmp_path: Path) -> None:
    content = front_content(results_with_ties(tmp_path))
    assert [row["cell"] for row in content["front"]] == ["base", "twin"]
    (close,) = content["ties"]
    assert close["cell"] == "close"
    assert close["ties"] == [DeploymentConfig().label(), DeploymentConfig(batch_size=4).label()]
    assert close["figures"]["latency_ms"]["value"] == 2.01


def test_ties_stand_below_the_table_each_pair_once(tmp_path: Path) -> None:
    lines = front_text(results_with_ties(tmp_path)).splitlines()
    base, twin, close = DeploymentConfig().label(), DeploymentConfig(batch_size=4).label(), WORSE.label()
    # A heading, a rule and two members, then their ties with the probability of each.
    assert len(lines) == 6
    assert re.fullmatch(rf"≈ {base}: not to be told apart from {twin} \(\d+%\), {close} \(\d+%\)", lines[4])
    assert re.fullmatch(rf"≈ {twin}: not to be told apart from {close} \(\d+%\)", lines[5])


def test_a_front_without_ties_is_the_table_alone(tmp_path: Path) -> None:
    assert "≈" not in front_text(results_in(tmp_path))
    assert front_text(results_in(tmp_path, measured=False)) == "no cell is measured yet"


def test_the_content_names_the_objectives_and_their_directions(tmp_path: Path) -> None:
    content = front_content(results_in(tmp_path))
    assert content["objectives"] == [
        {"name": "accuracy", "figure": "accuracy", "direction": "maximize"},
        {"name": "size", "figure": "size_bytes", "direction": "minimize"},
        {"name": "latency", "figure": "latency_ms", "direction": "minimize"},
    ]
    assert content["baseline"]["cell"] == "base"
    assert content["hypervolume"] > 0


def test_written_files_parse_back(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    write_front(results)
    assert json.loads(results.directory.front_json.read_text()) == front_content(results)
    with open(results.directory.front_csv, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == ["base", "int8"]
    assert float(rows[1]["figures.size_bytes.value"]) == 1000
    assert (rows[1]["p_front"], rows[1]["timings"], rows[1]["ties"]) == ("1.0", "1", "")


def test_ties_in_a_csv_file_are_one_field(tmp_path: Path) -> None:
    results = results_with_ties(tmp_path)
    write_front(results)
    with open(results.directory.front_csv, newline="") as file:
        first = next(csv.DictReader(file))
    assert first["ties"] == f"{DeploymentConfig(batch_size=4).label()}; {WORSE.label()}"


def test_a_run_without_cells_has_an_empty_front(tmp_path: Path) -> None:
    results = results_in(tmp_path, measured=False)
    write_front(results)
    content = json.loads(results.directory.front_json.read_text())
    assert (content["front"], content["baseline"], content["hypervolume"]) == ([], None, None)
    assert results.directory.front_csv.read_text().strip() == ""


def test_a_folder_that_does_not_take_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"front.json cannot be written"):
        write_front(results_in(tmp_path / "missing"))
