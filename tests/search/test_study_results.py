"""What is read back from a run directory, and what is said where there is nothing to read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.run_directory import RunDirectory
from litefront.search.study_results import StageEntry, StudyResults, read_records
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import InputError
from litefront.spaces.quantization import Quantization
from tests.search.records import CONTEXT, append_json_line, make_record, make_results, make_spec


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that has started and finished no cell."""
    directory = RunDirectory(tmp_path)
    content = {"spec": make_spec(seed=7).model_dump(mode="json"), "context": dataclasses.asdict(CONTEXT)}
    directory.study.write_text(json.dumps(content))
    return directory


def finish(directory: RunDirectory, record: CellRecord, context: str = CONTEXT.digest) -> None:
    append_json_line(directory.cells, {"context": context, "record": record.to_json()})


def test_a_run_without_cells_is_read(run: RunDirectory) -> None:
    results = StudyResults.read(run)
    assert results.spec == make_spec(seed=7)
    assert results.context == CONTEXT
    assert (results.records, results.ledger, results.measured, results.baseline) == ((), (), (), None)


def test_records_and_ledger_are_read_in_order(run: RunDirectory) -> None:
    records = [make_record("b", latency_ms=2), make_record("a", latency_ms=1)]
    for record in records:
        finish(run, record)
    append_json_line(run.stages, {"stage": "quantized", "key": "k", "event": "hit", "seconds": 1.5})
    results = StudyResults.read(run)
    assert results.records == tuple(records)
    assert results.ledger == (StageEntry("quantized", "k", "hit", 1.5),)


def test_the_latest_record_of_a_cell_counts(run: RunDirectory) -> None:
    finish(run, make_record("a", state=CellState.FAILED))
    finish(run, make_record("a", latency_ms=1))
    (record,) = StudyResults.read(run).records
    assert record.state is CellState.MEASURED


def test_records_of_another_context_are_left_out(run: RunDirectory) -> None:
    finish(run, make_record("a", latency_ms=1), context="another model")
    finish(run, make_record("b", latency_ms=1))
    assert list(read_records(run, CONTEXT.digest)) == ["b"]


def test_a_record_cut_short_by_a_kill_is_left_out(run: RunDirectory) -> None:
    finish(run, make_record("a", latency_ms=1))
    finish(run, make_record("b", latency_ms=1))
    run.cells.write_bytes(run.cells.read_bytes()[:-20])
    assert [record.cell for record in StudyResults.read(run).records] == ["a"]


def test_measured_are_the_cells_that_hold_what_is_asked() -> None:
    states = {"a": CellState.FAILED, "b": CellState.MEASURED, "c": CellState.REJECTED}
    results = make_results([make_record(cell, state=state) for cell, state in states.items()])
    assert [record.cell for record in results.measured] == ["b"]


def test_baseline_is_the_float_model_on_the_default_delegate() -> None:
    other = make_record("a", config=DeploymentConfig(delegate=Delegate.NONE), latency_ms=1)
    baseline = make_record("b", config=DeploymentConfig(), latency_ms=1)
    assert make_results([other, baseline]).baseline == baseline
    assert make_results([other]).baseline is None


def test_baseline_is_the_configuration_that_the_run_named() -> None:
    int8 = DeploymentConfig(quantization=Quantization.INT8)
    results = make_results([make_record("a", latency_ms=1), make_record("b", config=int8, latency_ms=1)])
    results = dataclasses.replace(results, context=dataclasses.replace(CONTEXT, baseline=int8.params()))
    assert results.baseline is not None
    assert results.baseline.cell == "b"


def test_a_baseline_outside_the_space_is_no_choice() -> None:
    results = make_results([make_record("a", latency_ms=1)], space={"quantization": ["int8"]})
    assert results.baseline is not None
    assert results.measured == ()


def test_a_cell_is_a_choice_whose_other_spelling_the_space_names() -> None:
    # XNNPACK has no int16 kernels: the space asks for it, and the cell that stands for it runs without.
    cell = make_record("a", config=DeploymentConfig(quantization=Quantization.INT16X8, delegate=Delegate.NONE))
    results = make_results([cell], space={"quantization": ["int16x8"], "delegate": ["xnnpack"]})
    assert results.measured == (cell,)


def test_a_failed_baseline_is_no_baseline() -> None:
    assert make_results([make_record(state=CellState.FAILED)]).baseline is None


def test_a_folder_without_a_run_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none in .*`litefront run STUDY` makes one"):
        StudyResults.read(RunDirectory(tmp_path / "nothing"))


def test_a_file_in_place_of_the_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("study: x")
    with pytest.raises(InputError, match="there is none in .*study.yaml"):
        StudyResults.read(RunDirectory(tmp_path / "study.yaml"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"spec": {}, "context": {}}',
        '{"spec": {"study": "x"',
    ],
)
def test_a_study_of_another_version_is_said_to_be_one(run: RunDirectory, content: str) -> None:
    run.study.write_text(content)
    with pytest.raises(InputError, match="cannot be read by this version of litefront"):
        StudyResults.read(run)


def test_a_study_that_is_no_text_is_said_to_be_unreadable(run: RunDirectory) -> None:
    run.study.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read by this version"):
        StudyResults.read(run)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cells.jsonl", {"context": CONTEXT.digest, "record": {"cell": "a"}}),
        ("cells.jsonl", {"context": CONTEXT.digest}),
        ("stages.jsonl", {"stage": "quantized"}),
        ("stages.jsonl", {"stage": "s", "key": "k", "event": "hit", "seconds": 1, "of_a_later_version": 1}),
    ],
)
def test_lines_of_another_version_are_said_to_be_unreadable(run: RunDirectory, file: str, line: dict[str, Any]) -> None:
    append_json_line(run.path / file, line)
    with pytest.raises(InputError, match="cannot be read by this version of litefront"):
        StudyResults.read(run)
