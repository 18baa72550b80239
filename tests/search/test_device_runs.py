"""Where the runs of a study with several devices lie, and which of them a command means."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from litefront.search.device_runs import device_runs, found_results, run_of_tier
from litefront.search.study_file import StudyFile
from litefront.spaces.errors import InputError
from tests.search.records import CONTEXT, make_spec

TIERS = {"entry": {"device": "pi"}, "flagship": {"device": "phone"}}
SEVERAL = make_spec(devices={"pi": {"kind": "host"}, "phone": {"kind": "host"}}, tiers=TIERS)


def write_run(folder: Path, device: str, at: float = 0.0) -> None:
    folder.mkdir(parents=True)
    content = {"spec": SEVERAL.for_device(device).model_dump(mode="json"), "context": asdict(CONTEXT)}
    (folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    os.utime(folder / "study.json", (at, at))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the runs of one study with two devices, and an older one of a study with one."""
    monkeypatch.chdir(tmp_path)
    for device in SEVERAL.devices:
        write_run(tmp_path / "runs" / "several" / device, device, at=2.0)
    write_run(tmp_path / "runs" / "single", "pi", at=1.0)
    return tmp_path / "runs"


def test_each_device_is_a_study_of_its_own_with_its_own_tiers(tmp_path: Path) -> None:
    made = device_runs(StudyFile(SEVERAL, tmp_path / "study.yaml"), tmp_path / "run")
    assert [list(study.spec.devices) for study, _ in made] == [["pi"], ["phone"]]
    assert [list(study.spec.tiers) for study, _ in made] == [["entry"], ["flagship"]]
    assert [directory.path.relative_to(tmp_path) for _, directory in made] == [Path("run/pi"), Path("run/phone")]
    ((study, directory),) = device_runs(StudyFile(SEVERAL, tmp_path / "study.yaml"), tmp_path / "run", "phone")
    assert (study.spec.device_name, directory.path.name) == ("phone", "phone")


def test_an_only_device_has_the_directory_for_itself(tmp_path: Path) -> None:
    study = StudyFile(SEVERAL.for_device("pi"), tmp_path / "study.yaml")
    assert [directory.path for _, directory in device_runs(study, tmp_path / "run")] == [tmp_path / "run"]


def test_a_device_that_the_study_has_not_is_refused(tmp_path: Path, runs: Path) -> None:
    with pytest.raises(InputError, match="must be one of pi, phone, but got 'watch'"):
        device_runs(StudyFile(SEVERAL, tmp_path / "study.yaml"), tmp_path / "run", "watch")
    with pytest.raises(InputError, match="must be one of phone, pi, but got 'watch'"):
        found_results("several", None, "watch")


@pytest.mark.parametrize("study", ["several", "runs/several", None])
def test_a_study_s_name_means_all_of_its_devices(study: str | None, runs: Path) -> None:
    assert [found.spec.device_name for found in found_results(study, None)] == ["phone", "pi"]
    (only,) = found_results(study, None, "pi")
    assert only.directory.path.resolve() == runs / "several" / "pi"


def test_a_run_directory_means_itself(runs: Path) -> None:
    (found,) = found_results(None, runs / "several" / "phone")
    assert found.spec.device_name == "phone"
    (found,) = found_results("single", None)
    assert found.spec.device_name == "pi"


def test_a_tier_leads_to_the_run_of_its_device(runs: Path) -> None:
    found = found_results("several", None)
    assert run_of_tier(found, "entry").spec.device_name == "pi"
    with pytest.raises(InputError, match="must be one of flagship, entry, but got 'watch'"):
        run_of_tier(found, "watch")


def test_no_run_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="There must be a run under runs/"):
        found_results(None, None)
