"""A study with several devices, from the command line: each is searched for itself, and one that is away stops none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.tiny_study import write_study

DEVICES = {
    "away": {
        "kind": "ssh",
        "host": "127.0.0.1",
        "config": "ssh_config",
        "power": "raspberry-pi-4",
        "connect_timeout_s": 1,
    },
    "pc": {"kind": "host"},
    "watch": {"kind": "profile", "profile": "all-a53-phone"},
}
TIERS = {"desk": {"device": "pc"}, "wrist": {"device": "watch"}}


def litefront(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("litefront")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Where the study was run, and how that ended."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "tiny").mkdir()
    # Nothing listens on the port of TCP's own multiplexer.
    (folder / "tiny" / "ssh_config").write_text("Host *\n    Port 1\n", encoding="utf-8")
    write_study(folder / "tiny", space={"quantization": ["float32", "int8"]}, devices=DEVICES, tiers=TIERS)
    return folder, litefront("run", "tiny", "--serial", cwd=folder)


def test_a_device_that_is_away_is_named_and_the_others_are_searched(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, ended = ran
    assert ended.returncode == 2
    assert "device away: 127.0.0.1 must be reached" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (folder / "runs/tiny/pc/report.html").is_file()
    assert (folder / "runs/tiny/watch/report.html").is_file()


def test_what_one_device_s_search_has_built_the_next_one_finds(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    (status,) = json.loads(litefront("status", "tiny", "--device", "watch", "--format", "json", cwd=ran[0]).stdout)
    runs = {row["stage"]: row["runs"] for row in status["stages"]}
    assert sum(runs.get(stage, 0) for stage in ("base", "float_tflite", "quantized")) == 0


def test_each_device_has_a_front_of_its_own_and_says_whose_it_is(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    rows = json.loads(litefront("front", "tiny", "--format", "json", cwd=ran[0]).stdout)
    assert {row["device"] for row in rows} == {"pc", "watch"}
    assert "device pc" in litefront("front", "tiny", cwd=ran[0]).stdout


def test_a_tier_is_picked_and_exported_from_the_run_of_its_device(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert "modelled" in litefront("pick", "tiny", "--tier", "wrist", cwd=ran[0]).stdout
    assert "modelled" not in litefront("pick", "tiny", "--tier", "desk", cwd=ran[0]).stdout.partition("why:")[0]
    assert litefront("export", "tiny", "--tier", "wrist", "--out", "bundle", cwd=ran[0]).returncode == 0
    assert (ran[0] / "bundle").is_dir()
