"""A whole study on a stand-in phone: its file's entry, the delegates that are there, the figures and the reasons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.run_directory import RunDirectory
from litefront.search.stage_calls import StageCall
from litefront.search.study_results import StudyContext, StudyResults
from litefront.search.study_run import RunOptions, run_study
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import InputError
from litefront.spaces.quantization import Quantization
from tests.objectives.devices.made_phone import MadePhone
from tests.search.tiny_study import SHORT_TIMING, TASK, write_study

FEW_ROWS = TASK.replace("rows(60, 1)", "rows(6, 1)")
SPACE = {"quantization": ["float32", "int8"], "delegate": ["none", "xnnpack", "gpu", "nnapi"]}


class Silence:
    """Is told everything, and says nothing."""

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None: ...

    def stage_started(self, call: StageCall) -> None: ...

    def cell_finished(self, record: CellRecord) -> None: ...

    def noted(self, text: str) -> None: ...

    def stopped(self, signal_number: int) -> None: ...


def run_on(phone: MadePhone, folder: Path, **entry: object) -> StudyResults:
    # Relative to the study's folder, as paths in a study are.
    tool = folder / "study" / "benchmark_model"
    tool.parent.mkdir(parents=True)
    tool.write_bytes(phone.benchmark_model.read_bytes())
    made = {"kind": "android"} | phone.settings(benchmark_model="benchmark_model") | entry
    study = write_study(folder / "study", task=FEW_ROWS, space=SPACE, devices={"phone": made})
    options = RunOptions(serial=True, timing=SHORT_TIMING)
    return run_study(study, RunDirectory(folder / "run"), Silence(), options)


def test_a_study_on_a_phone(tmp_path: Path) -> None:
    phone = MadePhone(tmp_path / "phone")
    results = run_on(phone, tmp_path)
    cells = {(record.config.quantization, record.config.delegate): record for record in results.records}
    assert {record.state for record in results.records} == {CellState.MEASURED}
    assert len(cells) == 6  # NNAPI's are left out
    assert any("nnapi is not there" in reason for reason in results.context.refusals)
    on_xnnpack, on_gpu = (cells[Quantization.FLOAT32, delegate] for delegate in (Delegate.XNNPACK, Delegate.GPU))
    assert on_xnnpack.figures["latency_ms"].value == 13.399
    assert on_gpu.figures["latency_ms"].value == 4.203
    assert on_xnnpack.figures["accuracy"].source.endswith("answers of this machine")
    assert on_gpu.figures["accuracy"].source.endswith("answers of the phone")
    assert on_gpu.figures["accuracy"].value == on_xnnpack.figures["accuracy"].value
    assert on_gpu.facts["delegated_nodes"] == 31
    assert results.context.device["processor"] == "Tensor G3 in Maker Phone 8 28151FDH"


def test_what_a_phone_refuses_costs_its_cells_alone(tmp_path: Path) -> None:
    phone = MadePhone(tmp_path / "phone")
    # The probe's model runs on the GPU, the study's do not.
    (phone.temporary / "replay" / "gpu.txt").rename(phone.temporary / "replay" / "gpu.probe")
    phone.replay("gpu", "gpu_not_executed")
    results = run_on(phone, tmp_path)
    states = {(record.config.delegate, record.state) for record in results.records}
    assert states == {
        (Delegate.NONE, CellState.MEASURED),
        (Delegate.XNNPACK, CellState.MEASURED),
        (Delegate.GPU, CellState.FAILED),
    }
    reasons = {record.reason for record in results.records if record.state is CellState.FAILED}
    assert len(reasons) == 1
    assert "the model graph will not be executed by the delegate" in str(reasons.pop())


def test_a_study_without_its_phone_ends_before_anything_is_built(tmp_path: Path) -> None:
    phone = MadePhone(tmp_path / "phone", ())
    with pytest.raises(InputError, match="A phone must be attached"):
        run_on(phone, tmp_path)
