"""A whole small study on a device that is not there: real files and answers, modelled figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from litefront.objectives.measurement import Provenance
from litefront.search.run_directory import RunDirectory
from litefront.search.study_results import StudyResults
from litefront.spaces.delegate import Delegate
from tests.objectives.made_profile import made_profile
from tests.search.tiny_study import write_study

LITEFRONT = str(Path(sys.executable).with_name("litefront"))
MODELLED = (
    "latency_ms",
    "latency_p90_ms",
    "throughput_per_s",
    "cold_start_ms",
    "memory_bytes",
    "energy_mj",
    "power_mw",
)


def litefront(*arguments: str, cwd: Path) -> str:
    ended = subprocess.run([LITEFRONT, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `litefront run` of the study was called."""
    folder = tmp_path_factory.mktemp("profile")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "board.yaml").write_text(yaml.safe_dump(made_profile()), encoding="utf-8")
    space: dict[str, Any] = {
        "quantization": ["float32", "int8"],
        "delegate": ["none", "xnnpack", "npu", "nnapi"],
        "num_threads": [1, 4],
    }
    write_study(
        folder / "tiny",
        space=space,
        objectives=["accuracy", "size", "latency", "power"],
        load={"samples_per_s": 5},
        budget={"remeasure": 0.5},
        devices={"board": {"kind": "profile", "profile": "board.yaml"}},
        tiers={"board": {"device": "board", "samples_per_s": 1, "prefer": "power"}},
    )
    litefront("run", "tiny", "--serial", cwd=folder)
    # A run is whole without the user's file.
    (folder / "tiny" / "board.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> StudyResults:
    return StudyResults.read(RunDirectory(folder / "runs" / "tiny"))


def test_every_figure_of_the_device_is_modelled(results: StudyResults) -> None:
    # Float32 and int8, on one and four threads, with and without XNNPACK; and int8 on the accelerator.
    assert len(results.measured) == 9
    for record in results.measured:
        assert record.is_modelled
        for name in MODELLED:
            assert record.figures[name].provenance is Provenance.MODELLED
            assert "made-up" in record.figures[name].source
        assert record.figures["accuracy"].provenance is Provenance.MEASURED


def test_a_modelled_timing_is_asked_for_once(results: StudyResults) -> None:
    keys = [entry.key for entry in results.ledger if entry.stage == "latency"]
    # The float model that the accelerator does not take never comes so far.
    assert len(keys) == len(set(keys)) == 9
    assert all(record.noisy is None and "remeasured" not in record.facts for record in results.measured)


def test_a_delegate_that_the_profile_lacks_is_left_out(results: StudyResults) -> None:
    assert any("has no nnapi" in reason for reason in results.context.refusals)
    assert Delegate.NNAPI not in {record.config.delegate for record in results.records}


def test_a_float_model_cannot_run_on_an_accelerator_of_integers(results: StudyResults) -> None:
    (rejected,) = [record for record in results.records if record.rejected_by == "delegate"]
    assert rejected.config.delegate is Delegate.NPU


def test_an_accelerators_answers_say_who_gave_them(results: StudyResults) -> None:
    told = {record.config.delegate: record.facts.get("answered_by") for record in results.measured}
    assert told == {Delegate.NONE: None, Delegate.XNNPACK: None, Delegate.NPU: "xnnpack on this machine"}


def test_the_front_shows_what_is_modelled(folder: Path) -> None:
    table = litefront("front", "tiny", cwd=folder)
    assert "latency (modelled)" in table
    assert "latency (measured)" not in table
    rows = json.loads(litefront("front", "tiny", "--format", "json", cwd=folder))
    assert all(row["p_front"] == 1.0 and row["timings"] == 0 for row in rows)


def test_a_model_is_not_measured_again(folder: Path) -> None:
    command = [LITEFRONT, "measure", "tiny", "--tier", "board"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "this run's is a model: roofline, profile made-up" in ended.stderr


def test_a_tier_is_picked_by_the_profiles_power(folder: Path) -> None:
    assert "power" in litefront("pick", "tiny", "--tier", "board", cwd=folder)
