"""A cell is measured again by the real runner, on the file and the rows of the search, beside the baseline."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import Candidate, HostDevice
from litefront.objectives.timing import Mode, Timing
from litefront.search.confirming import cell_of, confirm
from litefront.search.device_spec import BaseDeviceSpec
from litefront.search.run_directory import RunDirectory
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyResults
from litefront.search.tiers import pick
from litefront.spaces.errors import InputError
from litefront.spaces.quantization import Quantization
from tests.search.made_run import make_run

SHORT = Timing(min_rounds=3, round_s=0.005, max_s=0.2, warm_up_max_s=0.01, cold_starts=2, min_calls=5)

Files = dict[tuple[Quantization, int], Path]


@pytest.fixture
def results(tmp_path: Path, candidate_files: Files) -> StudyResults:
    """The run made by hand, with this machine as the one that measured it, and its rows in the store."""
    made = make_run(tmp_path / "run", candidate_files)
    store = ArtifactStore(made.directory.store)
    with store.scratch() as scratch:
        np.save(scratch / "rows.npy", np.random.default_rng(0).random((8, 8, 8, 1), np.float32))
        rows = store.add_object(scratch / "rows.npy")
    change_context(made, device=HostDevice().probe().identity(), model={"evaluation_inputs": rows})
    return StudyResults.read(made.directory)


def change_context(results: StudyResults, **changes: Any) -> None:
    content = json.loads(results.directory.study.read_text())
    content["context"] |= changes
    results.directory.study.write_text(json.dumps(content))


def picked(results: StudyResults) -> Any:
    return pick(results, "entry").chosen


def test_a_pick_is_measured_beside_the_baseline_and_kept(results: StudyResults) -> None:
    record = picked(results)
    found = confirm(results, record, Mode.QUICK, timing=SHORT)
    assert found.figures.keys() == {
        "latency_ms",
        "latency_p90_ms",
        "throughput_per_s",
        "cold_start_ms",
        "memory_bytes",
    }
    assert found.figures["latency_ms"].value > 0
    assert found.beside_ms is not None and found.beside_ms > 0
    assert found.facts["calls"] >= 5 or found.noisy is not None
    again = StudyResults.read(results.directory)
    assert again.confirmations == {record.cell: found}
    assert pick(again, "entry").confirmed == found
    # The search's own record stays as it was.
    assert again.records == results.records


def test_the_baseline_is_compared_with_nothing(results: StudyResults) -> None:
    assert results.baseline is not None
    assert confirm(results, results.baseline, Mode.QUICK, timing=SHORT).beside_ms is None


def test_a_pick_in_software_is_confirmed_as_what_it_is(results: StudyResults) -> None:
    record = picked(results)
    in_software = dataclasses.replace(record, facts=dict(record.facts) | {"software": "a software GPU"})
    found = confirm(results, in_software, Mode.QUICK, soak_s=0.05, timing=SHORT)
    assert all(figure.source.endswith(", in software") for figure in (*found.figures.values(), *found.soaked.values()))


def test_a_soak_leaves_figures_of_its_own(results: StudyResults) -> None:
    found = confirm(results, picked(results), Mode.QUICK, soak_s=0.05, timing=SHORT)
    assert found.soak_s == 0.05
    assert found.soaked["latency_ms"].value > 0
    assert found.facts["before_soak_ms"] > 0


def test_what_falls_short_of_its_mode_says_so(results: StudyResults) -> None:
    too_many = dataclasses.replace(SHORT, min_calls=10**9)
    found = confirm(results, picked(results), Mode.SUBMIT, timing=too_many)
    assert found.noisy is not None and "where the mode asks for 1,000,000,000 and 0 s" in found.noisy


def test_a_live_run_s_directory_is_left_alone(results: StudyResults) -> None:
    with (
        RunDirectory(results.directory.path).lock(),
        pytest.raises(InputError, match="written by one run at a time"),
    ):
        confirm(results, picked(results), Mode.QUICK, timing=SHORT)
    assert not results.directory.confirmations.exists()


def test_another_device_is_refused(results: StudyResults) -> None:
    device = HostDevice().probe().identity()
    change_context(results, device=device | {"processor": "Another"})
    changed = StudyResults.read(results.directory)
    with pytest.raises(InputError, match="the search measured on, processor Another, but this is processor "):
        confirm(changed, picked(changed), Mode.QUICK, timing=SHORT)


@pytest.mark.parametrize("model", [{}, {"evaluation_inputs": "0" * 64 + ".npy"}])
def test_rows_that_are_missing_are_told(model: dict[str, str], results: StudyResults) -> None:
    change_context(results, model=model)
    changed = StudyResults.read(results.directory)
    with pytest.raises(InputError, match=r"rows must be in .*, but they are missing; `litefront run` puts them there"):
        confirm(changed, picked(changed), Mode.QUICK, timing=SHORT)


def test_a_graph_of_which_less_is_delegated_is_not_what_was_measured(results: StudyResults) -> None:
    record = picked(results)
    other = dataclasses.replace(record, facts={**record.facts, "delegated_nodes": 99})
    with pytest.raises(InputError, match="As many nodes must run on xnnpack as in the search, 99, but 5 did"):
        confirm(results, other, Mode.QUICK, timing=SHORT)


def test_a_file_that_does_not_run_is_told(results: StudyResults) -> None:
    record = picked(results)
    store = ArtifactStore(results.directory.store)
    stage = store.find("quantized", record.stages["quantized"])
    assert stage is not None
    with store.scratch() as scratch:
        (scratch / "bad.tflite").write_bytes(b"no model at all")
        digest = store.add_object(scratch / "bad.tflite")
    store.add(dataclasses.replace(stage, key="bad", objects={"tflite": digest}))
    bad = dataclasses.replace(record, stages={"quantized": "bad"})
    with pytest.raises(InputError, match="must run to be measured, but it refused: "):
        confirm(results, bad, Mode.QUICK, timing=SHORT)


def test_a_cell_is_found_by_the_beginning_of_its_id(results: StudyResults) -> None:
    record = picked(results)
    assert cell_of(results, record.cell[:8]).cell == record.cell
    for prefix in ("", "nothing-like-it"):
        with pytest.raises(InputError, match="`--cell` must be the beginning of one timed cell's id, but [03] of 3"):
            cell_of(results, prefix)


class SummingDevice(HostDevice):
    """A device whose tool sums its calls up itself, as a phone's does: the host, with less said."""

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> dict[str, Any]:
        reply = super().benchmark(candidate, inputs, timing, reference)
        return {name: reply[name] for name in reply if name not in ("all_calls", "waited_s", "timed_s", "soaked")}


@pytest.fixture
def on_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseDeviceSpec, "open", lambda _spec: SummingDevice())


def test_a_device_that_tells_no_single_calls_gives_the_rounds_p90(results: StudyResults, on_a_phone: None) -> None:
    found = confirm(results, picked(results), Mode.QUICK, timing=SHORT)
    assert "rounds" in found.figures["latency_p90_ms"].source
    assert found.figures["latency_p90_ms"].value >= found.figures["latency_ms"].value


def test_a_device_that_cannot_be_soaked_says_so_and_keeps_nothing(results: StudyResults, on_a_phone: None) -> None:
    with pytest.raises(InputError, match="`--sustained` needs a device that runs litefront's own runner"):
        confirm(results, picked(results), Mode.QUICK, soak_s=0.1, timing=SHORT)
    assert StudyResults.read(results.directory).confirmations == {}
