"""The agent's own work on a board: what it keeps, what it removes, and what it makes of the board's flags."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from litefront.objectives.devices import board_agent
from litefront.objectives.devices.board_agent import answer, board_health, sweep, throttling

HOUR_S, DAY_S = 3600.0, 24 * 3600.0


def asked(folder: Path, body: bytes = b"", **request: Any) -> dict[str, Any]:
    """The agent's reply, in this process."""
    sink, here = io.BytesIO(), Path.cwd()
    line = json.dumps({"mark": "mark", "folder": str(folder), **request}).encode()
    try:
        answer(io.BytesIO(line + b"\n" + body), sink)
    finally:
        os.chdir(here)
    assert sink.getvalue().startswith(b"mark")
    reply: dict[str, Any] = json.loads(sink.getvalue().removeprefix(b"mark"))
    return reply


def put(folder: Path, body: bytes, **changes: Any) -> dict[str, Any]:
    said = {"name": "kept-a", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} | changes
    return asked(folder, body, action="put", **said)


def test_a_file_is_kept_under_its_name_in_a_folder_of_its_own(tmp_path: Path) -> None:
    assert put(tmp_path / "new" / "cache", b"content") == {}
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "cache").iterdir()} == {"kept-a": b"content"}
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("change", [{"bytes": 9}, {"sha256": "0" * 64}], ids=["short", "changed"])
def test_a_file_that_arrives_damaged_is_not_kept(change: dict[str, Any], tmp_path: Path) -> None:
    assert "kept-a arrived damaged" in put(tmp_path, b"content", **change)["refused"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_larger_than_the_free_space_is_refused_before_it_is_written(tmp_path: Path) -> None:
    reply = put(tmp_path, b"", bytes=1 << 60)
    assert reply["refused"].startswith(f"there is no space in {tmp_path}: 1152921504606.8 MB are needed, ")
    assert list(tmp_path.iterdir()) == []


def kept_file(folder: Path, name: str, size: int, unused_s: float) -> None:
    (folder / name).write_bytes(b"x" * size)
    used = time.time() - unused_s
    os.utime(folder / name, (used, used))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_not_used_for_a_week_goes(tmp_path: Path) -> None:
    kept_file(tmp_path, "kept-old", 1, 8 * DAY_S)
    kept_file(tmp_path, "part-old", 1, 8 * DAY_S)
    kept_file(tmp_path, "output-old", 1, 8 * DAY_S)
    kept_file(tmp_path, "kept-new", 1, 6 * DAY_S)
    kept_file(tmp_path, "theirs", 1, 8 * DAY_S)
    sweep(str(tmp_path), 1000)
    assert left(tmp_path) == {"kept-new", "theirs"}


def test_what_was_not_used_longest_makes_room_and_what_is_in_use_stays(tmp_path: Path) -> None:
    for name, unused_s in {"now": 0, "lately": HOUR_S / 2, "today": 2 * HOUR_S, "before": 3 * HOUR_S}.items():
        kept_file(tmp_path, f"kept-{name}", 10, unused_s)
    sweep(str(tmp_path), 30)
    assert left(tmp_path) == {"kept-now", "kept-lately", "kept-today"}
    sweep(str(tmp_path), 0)
    assert left(tmp_path) == {"kept-now", "kept-lately"}


def test_a_request_names_what_is_missing_and_marks_what_is_there_as_used(tmp_path: Path) -> None:
    kept_file(tmp_path, "kept-here", 3, 6 * DAY_S)
    kept_file(tmp_path, "kept-short", 2, 0)
    needs = {"kept-here": 3, "kept-short": 3, "kept-nowhere": 3}
    assert asked(tmp_path, action="run", needs=needs) == {"missing": ["kept-short", "kept-nowhere"]}
    assert time.time() - (tmp_path / "kept-here").stat().st_mtime < HOUR_S


@pytest.mark.parametrize(
    ("before", "after", "spoilt"),
    [
        (None, None, 0),
        (0, 0, 0),
        (0xF0000, 0xF0000, 0),  # long ago
        (0x1, 0x0, 0x1),
        (0x0, 0x4, 0x4),
        (0x50000, 0xD0000, 0x8),  # came and went meanwhile
        (0x50005, 0x50005, 0x5),
        (0x10, 0x10, 0),  # no flag that is known
    ],
)
def test_flags_spoil_a_measurement_if_they_are_set_now_or_came_up_meanwhile(
    before: int | None, after: int | None, spoilt: int
) -> None:
    assert throttling({"throttled": before}, {"throttled": after}) == spoilt


@pytest.mark.parametrize(
    ("program", "throttled"),
    [
        ("echo throttled=0x50005", 0x50005),
        ("echo throttled=0x0", 0),
        ("echo 'VCHI initialization failed'; exit 1", None),
        ("echo nonsense", None),
        (None, None),
    ],
)
def test_health_holds_the_boards_flags_where_it_has_any(
    program: str | None, throttled: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program is not None:
        (tmp_path / "vcgencmd").write_text(f"#!/bin/sh\n{program}\n", encoding="ascii")
        (tmp_path / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    health = board_health()
    assert health["throttled"] == throttled
    assert json.loads(json.dumps(health)) == health


def test_the_agent_needs_nothing_but_an_old_pythons_standard_library() -> None:
    tree = ast.parse(Path(board_agent.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
