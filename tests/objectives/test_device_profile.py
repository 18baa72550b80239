"""Profiles: those that come with litefront, and what a user's own must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from litefront.objectives.device_profile import SheetNumber, profile_names, read_profile
from litefront.objectives.power import POWER_MODELS
from litefront.spaces.errors import InputError
from tests.objectives.made_profile import made_profile

# The devices whose latencies XNNPACK publishes, and the tiers that a study is likely to ship to.
EXPECTED = {
    *("pixel", "pixel-2", "pixel-3a"),
    *("raspberry-pi-zero-w", "raspberry-pi-2", "raspberry-pi-3-plus", "raspberry-pi-4", "raspberry-pi-4-32bit"),
    *("low-end-phone", "all-a53-phone", "mid-phone", "flagship-2019-phone", "flagship-2023-phone"),
    *("raspberry-pi-5", "coral-dev-board"),
}


def test_the_tiers_and_the_published_devices_are_there() -> None:
    assert set(profile_names()) == EXPECTED


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_bears_its_files_name_and_gives_power_parameters(name: str) -> None:
    profile = read_profile(name)
    assert profile.name == name
    assert profile.cores == len(profile.cores_in_order) > 0
    assert POWER_MODELS[name].name == name


def test_a_file_of_the_users_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(made_profile()), encoding="utf-8")
    assert read_profile(str(path)) == read_profile(path) == read_profile(made_profile())


def test_the_digest_changes_with_a_number() -> None:
    changed = made_profile(static_w={"value": 2.5, "source": "made up"})
    assert read_profile(made_profile()).digest != read_profile(changed).digest
    assert read_profile(made_profile()).digest == read_profile(made_profile()).digest


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ghz": 1.0}, "made-up: ghz: Unknown key; valid here: name, summary, machine, clusters"),
        ({"static_w": {"value": 1.0}}, "made-up: static_w.source: This key must be given."),
        ({"static_w": {"value": 1.0, "source": ""}}, "made-up: static_w.source: .* at least 1 character, but got ''"),
        ({"static_w": {"value": -1, "source": "x"}}, "made-up: static_w.value: .* greater than or equal to 0"),
        ({"static_w": {"value": 1, "source": "x", "unit": "W"}}, "unit: Unknown key; valid here: value, source"),
        ({"clusters": []}, "made-up: clusters: .* at least 1 item"),
        ({"accelerators": {"dsp": {}}}, "made-up: accelerators.dsp: Input should be 'gpu' or 'npu'"),
        ({"name": "Made Up"}, "Made Up: name: "),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_profile(made_profile(**changes))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_profile(made_profile(ghz=1.0, clusters=[], machine=3))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("content", "problem"), [("- 1", "valid dictionary"), ("a: [", "must be YAML"), (None, "read")]
)
def test_what_is_no_profile_is_refused(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_profile(path)


def test_a_name_that_is_not_there_is_told_the_ones_that_are() -> None:
    with pytest.raises(InputError, match=r"one of all-a53-phone, .*, but got 'toaster'"):
        read_profile("toaster")


def test_numbers_are_not_assumed_unless_they_say_so() -> None:
    assert not SheetNumber(value=1.0, source="a table").assumed
