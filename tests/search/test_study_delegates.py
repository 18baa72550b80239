"""Small studies on real delegates: accelerators in software, and an external one that does what it should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.progress import TerminalProgress
from litefront.search.run_directory import RunDirectory
from litefront.search.study_results import StudyResults
from litefront.search.study_run import RunOptions, run_study
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import InputError
from tests.accelerators import NPU_ON_CPU
from tests.search.tiny_study import SHORT_TIMING, write_study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All studies of this module share what they build."""
    return str(tmp_path_factory.mktemp("store"))


def run(folder: Path, store: str, asked: list[str], **device: Any) -> StudyResults:
    space = {"quantization": ["float32"], "delegate": asked}
    study = write_study(folder / "study", space=space, devices={"host": {"kind": "host"} | device})
    options = RunOptions(serial=True, timing=SHORT_TIMING, store=store)
    with TerminalProgress(study.spec) as progress:
        return run_study(study, RunDirectory(folder / "run"), progress, options)


def by_delegate(results: StudyResults) -> dict[Delegate, CellRecord]:
    return {record.config.delegate: record for record in results.records}


@pytest.mark.usefixtures("software_gpu", "openvino")
def test_a_study_measures_on_gpu_and_npu_and_says_that_they_are_software(tmp_path: Path, store: str) -> None:
    delegates = {"npu": NPU_ON_CPU}
    cells = by_delegate(run(tmp_path, store, ["xnnpack", "gpu", "npu"], software_delegates=True, delegates=delegates))
    assert {cell.state for cell in cells.values()} == {CellState.MEASURED}
    for delegate in (Delegate.GPU, Delegate.NPU):
        cell = cells[delegate]
        assert (cell.facts["delegated_nodes"], cell.facts["nodes"]) == (4, 4)
        assert cell.facts["fidelity"]["largest"] < 0.01
        assert cell.figures["latency_ms"].source.endswith(", in software")
        assert cell.delegate_text == f"{delegate} (in software)"
    assert cells[Delegate.XNNPACK].facts["fidelity"]["same_argmax"] == 1.0
    assert "in software" not in cells[Delegate.XNNPACK].figures["latency_ms"].source

    # The same run, no longer content with software: the cells leave the front, and nothing is timed again.
    results = run(tmp_path, store, ["xnnpack", "gpu", "npu"], delegates=delegates)
    assert [record.config.delegate for record in results.measured] == [Delegate.XNNPACK]
    for delegate in (Delegate.GPU, Delegate.NPU):
        rejected = by_delegate(results)[delegate]
        assert (rejected.state, rejected.rejected_by) == (CellState.REJECTED, "delegate")
        assert "it is software here" in str(rejected.reason)


def test_a_delegate_that_is_not_there_is_left_out_with_the_reason_or_ends_the_study(tmp_path: Path, store: str) -> None:
    results = run(tmp_path, store, ["xnnpack", "external"])
    assert by_delegate(results).keys() == {Delegate.XNNPACK}
    (reason,) = results.context.refusals
    assert reason.startswith("external is not there: ")
    with pytest.raises(InputError, match="Every delegate of the space must be there .*external is not there"):
        run(tmp_path, store, ["xnnpack", "external"], missing_delegates="error")


@pytest.mark.parametrize(
    ("mode", "partial_delegation", "reason"),
    [
        ("zeros", "reject", "external: its answers to 32 rows differ from the built-in kernels' by up to"),
        ("nothing", "keep", "external: asked for, but none of the graph's 4 nodes ran on it"),
        ("copies", "reject", "external: only 1 of the graph's 4 nodes ran on it"),
        ("copies", "keep", None),
    ],
)
def test_a_study_goes_on_beside_a_delegate_that_does_not_do_what_it_should(
    mode: str, partial_delegation: str, reason: str | None, external_delegate: Path, tmp_path: Path, store: str
) -> None:
    options = {"external": {"library": str(external_delegate), "options": {"mode": mode}}}
    asked = ["xnnpack", "external"]
    results = run(tmp_path, store, asked, partial_delegation=partial_delegation, delegates=options)
    cells = by_delegate(results)
    assert cells[Delegate.XNNPACK].state is CellState.MEASURED
    cell = cells[Delegate.EXTERNAL]
    if reason is None:
        assert cell.state is CellState.MEASURED
        assert cell.delegate_text == "external (1 of 4 nodes)"
    else:
        assert (cell.state, cell.rejected_by) == (CellState.REJECTED, "delegate")
        assert str(cell.reason).startswith(reason)


@pytest.mark.parametrize(("mode", "reason"), [("aborts", "crashed with SIGABRT"), ("refuses", "refused: ")])
def test_a_study_goes_on_without_a_delegate_that_falls(
    mode: str, reason: str, external_delegate: Path, tmp_path: Path, store: str
) -> None:
    external = {"library": str(external_delegate), "options": {"mode": mode}}
    results = run(tmp_path, store, ["xnnpack", "external"], delegates={"external": external})
    assert by_delegate(results)[Delegate.XNNPACK].state is CellState.MEASURED
    (words,) = results.context.refusals
    assert words.startswith(f"external is not there: its probe {reason}")
