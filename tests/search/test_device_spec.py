"""What a study may say of a device, and the device that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from litefront.objectives.devices import DEVICE_KINDS, AndroidDevice, HostDevice, ProfileDevice, SshDevice
from litefront.search.device_spec import DEVICE_SPECS, BaseDeviceSpec, DeviceSpec
from litefront.spaces.errors import InputError
from tests.objectives.made_profile import made_profile

READER: TypeAdapter[BaseDeviceSpec] = TypeAdapter(DeviceSpec)


def test_every_kind_of_device_can_be_said_in_a_study() -> None:
    assert DEVICE_SPECS.keys() == DEVICE_KINDS.keys()


def test_a_device_is_made_from_its_settings_and_not_from_what_the_search_makes_of_it() -> None:
    spec = READER.validate_python({"kind": "host", "missing_delegates": "error", "software_delegates": True})
    assert spec.settings() == {"kind": "host", "delegates": {}}
    assert isinstance(spec.open(), HostDevice)


def test_an_ssh_board_is_made_from_its_entry_alone() -> None:
    spec = READER.validate_python({"kind": "ssh", "host": "pi@10.0.0.7", "power": "x86-host-1", "connect_timeout_s": 3})
    assert spec.settings() == {
        "kind": "ssh",
        "host": "pi@10.0.0.7",
        "power": "x86-host-1",
        "python": "python3",
        "folder": ".cache/litefront",
        "delegates": {},
        "connect_timeout_s": 3,
        "max_absence_s": 180.0,
        "cool_down_s": 60.0,
    }
    # Nothing is asked of the board before it is needed.
    assert isinstance(spec.open(), SshDevice)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"host": None}, "host"),
        ({"host": "-oProxyCommand=true"}, "host"),
        ({"host": "two words"}, "host"),
        ({"power": "nuclear"}, "`power` must be one of x86-host-1.*, but got 'nuclear'"),
        ({"connect_timeout_s": 0}, "connect_timeout_s"),
        ({"max_absence_s": -1}, "max_absence_s"),
        ({"port": 22}, "port"),
    ],
)
def test_what_is_no_ssh_board_is_refused(change: dict[str, object], problem: str) -> None:
    entry = {"kind": "ssh", "host": "pi", "power": "x86-host-1"}
    with pytest.raises(ValidationError, match=problem):
        READER.validate_python(entry | change)


def test_a_board_without_named_power_is_refused() -> None:
    with pytest.raises(ValidationError, match="power"):
        READER.validate_python({"kind": "ssh", "host": "pi"})


def test_a_spec_goes_through_json_whole() -> None:
    spec = READER.validate_python({"kind": "host", "partial_delegation": "keep"})
    assert READER.validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "toaster"},
        {},
        3,
        {"kind": "host", "serial": "1"},
        {"kind": "profile"},
        {"kind": "profile", "profile": "toaster"},
    ],
)
def test_what_is_no_device_is_refused(entry: object) -> None:
    with pytest.raises(ValidationError):
        READER.validate_python(entry)


PHONE = {"kind": "android", "power": "x86-host-1"}


def test_a_phone_is_made_from_its_entry() -> None:
    entry = PHONE | {"serial": "28151FDH", "cpu_mask": "f0", "delegates": {"gpu": {"backend": "cl"}, "nnapi": {}}}
    spec = READER.validate_python(entry)
    assert isinstance(spec.open(), AndroidDevice)
    assert spec.settings() == entry | {
        "benchmark_model": "/data/local/tmp/benchmark_model",
        "adb": "adb",
        "max_thermal_status": 0,
        "cool_down_s": 300.0,
        "fixed_performance": False,
    }


def test_a_phones_paths_are_taken_from_the_studys_folder_unless_they_are_on_the_phone() -> None:
    here = READER.validate_python(PHONE | {"benchmark_model": "tools/benchmark_model", "adb": "tools/adb"})
    assert here.beside(Path("/study")).settings()["benchmark_model"] == "/study/tools/benchmark_model"
    assert here.beside(Path("/study")).settings()["adb"] == "/study/tools/adb"
    there = READER.validate_python(PHONE)
    assert there.beside(Path("/study")) == there


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"kind": "android"}, "power"),
        (PHONE | {"power": "fusion"}, "`power` must be one of x86-host-1"),
        (PHONE | {"cpu_mask": "0"}, "cpu_mask"),
        (PHONE | {"cpu_mask": "big"}, "cpu_mask"),
        (PHONE | {"max_thermal_status": 7}, "max_thermal_status"),
        (PHONE | {"delegates": {"gpu": {"backend": "vulkan"}}}, "backend"),
        (PHONE | {"delegates": {"external": {"library": "lib.so"}}}, "must be a whole path on the phone"),
        (PHONE | {"delegates": {"external": {"library": "/a", "options": {"a": "b:c"}}}}, "must not hold `:` or `;`"),
    ],
)
def test_a_phone_that_cannot_be_is_refused_with_the_rule(entry: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        READER.validate_python(entry)


def test_a_profile_is_named() -> None:
    spec = READER.validate_python({"kind": "profile", "profile": "pixel-3a"})
    assert spec.settings() == {"kind": "profile", "profile": "pixel-3a"}
    assert spec.beside(Path("anywhere")) == spec
    assert isinstance(spec.open(), ProfileDevice)


def test_a_profile_of_the_users_own_is_taken_into_the_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(made_profile()), encoding="utf-8")
    spec = READER.validate_python({"kind": "profile", "profile": "mine.yaml"}).beside(tmp_path)
    (tmp_path / "mine.yaml").unlink()
    again = READER.validate_json(spec.model_dump_json())
    assert again.open().probe() == ProfileDevice(made_profile()).probe()


def test_a_profile_that_is_not_there_is_the_studys_mistake(tmp_path: Path) -> None:
    spec = READER.validate_python({"kind": "profile", "profile": "mine.yaml"})
    with pytest.raises(InputError, match="mine.yaml"):
        spec.beside(tmp_path)


def test_options_of_delegates_reach_the_device() -> None:
    delegates = {"gpu": {"precision": "float32"}, "npu": {"backend": "CPU"}, "external": {"library": "libedgetpu.so.1"}}
    spec = READER.validate_python({"kind": "host", "delegates": delegates})
    delegates["external"]["options"] = {}  # type: ignore[assignment]
    assert spec.settings() == {"kind": "host", "delegates": delegates}


def test_a_library_is_found_beside_the_study_and_a_bare_name_by_the_system(tmp_path: Path) -> None:
    (tmp_path / "mine.so").touch()

    def library(name: str) -> str:
        entry = {"kind": "host", "delegates": {"external": {"library": name}}}
        found: str = READER.validate_python(entry).beside(tmp_path).settings()["delegates"]["external"]["library"]
        return found

    assert library("mine.so") == str(tmp_path / "mine.so")
    assert library("libedgetpu.so.1") == "libedgetpu.so.1"


def test_a_backend_is_for_openvino_alone() -> None:
    with pytest.raises(ValidationError, match="but got the vendor qualcomm"):
        READER.validate_python({"kind": "host", "delegates": {"npu": {"vendor": "qualcomm", "backend": "NPU"}}})
