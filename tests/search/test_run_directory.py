"""The run directory under the accidents that a long run meets: kills, second runs, disks that do not take it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from litefront.search.run_directory import (
    JsonLineAppender,
    RunDirectory,
    explain_os_error,
    read_json_lines,
    write_atomically,
)
from litefront.spaces.errors import InputError, StoreError
from tests.search.records import append_json_line

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from litefront.search.run_directory import RunDirectory

with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A second process that holds the folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "runs" / "one")
    directory.create()
    return directory


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A path that no permission can make writable, not even root's: its parent is a file."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "below"


def test_create_makes_the_folder_and_its_parents_and_leaves_nothing_else(run: RunDirectory) -> None:
    assert [path.name for path in run.path.iterdir()] == ["store"]


def test_create_keeps_what_is_there(run: RunDirectory) -> None:
    run.cells.write_text("{}\n")
    run.create()
    assert run.cells.read_text() == "{}\n"


def test_create_says_why_it_cannot(below_a_file: Path) -> None:
    with pytest.raises(InputError, match="must be writable: .*below: not a directory"):
        RunDirectory(below_a_file).create()


def test_a_shared_store_is_a_folder_that_others_may_use_too(run: RunDirectory, tmp_path: Path) -> None:
    run.create()
    run.share_store(tmp_path / "shared")
    (run.store / "artifact").write_text("made", encoding="ascii")
    assert (tmp_path / "shared" / "artifact").read_text(encoding="ascii") == "made"
    run.create()
    run.share_store(tmp_path / "shared")
    with pytest.raises(InputError, match="keeps its artifacts where it began to"):
        run.share_store(tmp_path / "another")


def test_a_run_with_artifacts_of_its_own_does_not_leave_them_behind(run: RunDirectory, tmp_path: Path) -> None:
    run.create()
    (run.store / "artifact").write_text("made", encoding="ascii")
    with pytest.raises(InputError, match="keeps its artifacts where it began to"):
        run.share_store(tmp_path / "shared")
    assert (run.store / "artifact").exists()


def test_a_shared_store_that_cannot_be_made_is_told(run: RunDirectory, below_a_file: Path) -> None:
    run.create()
    with pytest.raises(InputError, match="`store` must be a folder that can be made"):
        run.share_store(below_a_file)
    assert run.store.is_dir() and not run.store.is_symlink()


def test_lock_keeps_another_process_out_and_names_it(run: RunDirectory) -> None:
    with (
        another_run(run.path) as other,
        pytest.raises(InputError, match=f"process {other.pid} is running in"),
        run.lock(),
    ):
        pytest.fail("two runs hold one folder")


def test_lock_is_free_again_when_its_process_was_killed(run: RunDirectory) -> None:
    with another_run(run.path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with run.lock():
            assert (run.path / "lock").read_text() == str(os.getpid())


def test_lock_is_free_again_after_an_error(run: RunDirectory) -> None:
    with pytest.raises(RuntimeError), run.lock():
        raise RuntimeError
    with run.lock():
        pass


def test_appended_lines_are_read_in_order(run: RunDirectory) -> None:
    for number in range(3):
        append_json_line(run.cells, {"number": number})
    assert read_json_lines(run.cells) == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert run.cells.read_bytes().count(b"\n") == 3


def test_a_record_of_any_text_takes_one_line(run: RunDirectory) -> None:
    record = {"reason": "first\nsecond\u2028third\x85fourth, \N{GREEK SMALL LETTER MU}s"}
    append_json_line(run.cells, record)
    append_json_line(run.cells, {"after": True})
    assert read_json_lines(run.cells) == [record, {"after": True}]


def test_a_file_that_is_not_there_has_no_lines(run: RunDirectory) -> None:
    assert read_json_lines(run.cells) == []


@pytest.mark.parametrize("kept", [1, 8, 12])
def test_a_line_cut_short_spoils_itself_alone(run: RunDirectory, kept: int) -> None:
    append_json_line(run.cells, {"number": 0})
    with open(run.cells, "ab") as file:
        file.write(b'{"number": 1}\n'[:kept])
    assert read_json_lines(run.cells) == [{"number": 0}]
    append_json_line(run.cells, {"number": 2})
    assert read_json_lines(run.cells) == [{"number": 0}, {"number": 2}]


def test_a_whole_line_that_lost_its_end_only_is_kept(run: RunDirectory) -> None:
    run.cells.write_bytes(b'{"number":0}')
    append_json_line(run.cells, {"number": 1})
    assert read_json_lines(run.cells) == [{"number": 0}, {"number": 1}]


def test_a_line_cut_within_a_character_is_passed_over(run: RunDirectory) -> None:
    run.cells.write_bytes('{"reason": "\N{GREEK SMALL LETTER MU}'.encode()[:-1])
    assert read_json_lines(run.cells) == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"null",
        b"7",
        b'"text"',
        b"[{}]",
        b"",
        b"\0" * 512,
        b"\xff",
        b'{"reason": "\xff"}',
        b"[" * 100_000,
        b'{"number": 1}{}',
    ],
    ids=lambda line: repr(line[:20]),
)
def test_a_line_that_is_no_object_is_passed_over(run: RunDirectory, damaged: bytes) -> None:
    run.cells.write_bytes(b'{"number": 0}\n' + damaged + b'\n{"number": 2}\n')
    assert read_json_lines(run.cells) == [{"number": 0}, {"number": 2}]


def test_lines_that_the_disk_does_not_give_are_an_error(run: RunDirectory) -> None:
    run.cells.mkdir()
    with pytest.raises(StoreError, match="cells.jsonl cannot be read: is a directory"):
        read_json_lines(run.cells)


@pytest.mark.parametrize("sync_every_s", [0.0, 1000.0])
def test_an_appenders_lines_are_there_at_once(run: RunDirectory, sync_every_s: float) -> None:
    append_json_line(run.stages, {"number": 0})
    with JsonLineAppender(run.stages, sync_every_s=sync_every_s) as appender:
        for number in (1, 2):
            appender.append({"number": number})
            assert read_json_lines(run.stages)[-1] == {"number": number}
    assert read_json_lines(run.stages) == [{"number": number} for number in range(3)]


def test_an_appender_closes_a_line_that_was_cut_short_once(run: RunDirectory) -> None:
    run.stages.write_bytes(b'{"number": 0}\n{"numb')
    with JsonLineAppender(run.stages) as appender:
        appender.append({"number": 1})
        appender.append({"number": 2})
    assert run.stages.read_bytes() == b'{"number": 0}\n{"numb\n{"number":1}\n{"number":2}\n'


def test_an_appender_makes_no_file_before_its_first_line(run: RunDirectory) -> None:
    with JsonLineAppender(run.stages):
        pass
    assert not run.stages.exists()


def test_an_appender_can_go_on_after_it_was_closed(run: RunDirectory) -> None:
    appender = JsonLineAppender(run.stages)
    for number in range(2):
        appender.append({"number": number})
        appender.close()
    assert read_json_lines(run.stages) == [{"number": 0}, {"number": 1}]


@pytest.mark.parametrize(("sync_every_s", "synced"), [(0.0, [1, 2, 3, 3]), (1000.0, [1, 1, 1, 2])])
def test_an_appender_waits_for_the_disk_as_often_as_asked(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, sync_every_s: float, synced: list[int]
) -> None:
    calls: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(descriptor), fsync(descriptor)))
    appender = JsonLineAppender(run.stages, sync_every_s=sync_every_s)
    seen = []
    for number in range(3):
        appender.append({"number": number})
        seen.append(len(calls))
    appender.close()
    assert [*seen, len(calls)] == synced


FILL_THE_DISK = """
import sys
import resource
from pathlib import Path
from litefront.search.run_directory import JsonLineAppender
from litefront.spaces.errors import StoreError

appender = JsonLineAppender(Path(sys.argv[1]), sync_every_s=1000)
appender.append({"number": 0})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    appender.append({"text": "x" * 1000})
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
appender.append({"number": 2})
appender.close()
"""


def test_a_line_that_the_disk_cuts_off_spoils_itself_alone(run: RunDirectory) -> None:
    # A limit on the length of files stops a write in its middle, as a full disk does, and needs no rights to set.
    command = [sys.executable, "-c", FILL_THE_DISK, str(run.stages)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "stages.jsonl cannot be written: file too large" in result.stdout
    assert read_json_lines(run.stages) == [{"number": 0}, {"number": 2}]


def test_nan_is_never_written(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="JSON"):
        append_json_line(run.cells, {"value": float("nan")})
    assert not run.cells.exists()


def test_append_says_why_the_disk_did_not_take_it(below_a_file: Path) -> None:
    with pytest.raises(StoreError, match="below cannot be written: not a directory"):
        append_json_line(below_a_file, {})


@pytest.mark.parametrize("content", ["text, \N{GREEK SMALL LETTER MU}", b"\x00\xff"])
def test_write_atomically_replaces_the_file_and_leaves_no_other(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "front.json"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


WRITE_AGAIN_AND_AGAIN = """
import os
import sys
from pathlib import Path
from litefront.search.run_directory import write_atomically

# As in two containers that share a folder: each is the first process of its own.
os.getpid = lambda: 1
for number in range(200):
    write_atomically(Path(sys.argv[1]), str(number) * 1000)
"""


def test_writers_with_one_process_number_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE_AGAIN_AND_AGAIN, str(tmp_path / "record.json")]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [b"", b"", b""]
    assert (tmp_path / "record.json").read_text() == "199" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_write_atomically_says_why_it_cannot(below_a_file: Path) -> None:
    with pytest.raises(StoreError, match="below cannot be written: not a directory"):
        write_atomically(below_a_file, "new")


def test_write_atomically_leaves_nothing_behind_when_it_cannot_replace(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    (path / "a folder that is not empty").mkdir(parents=True)
    with pytest.raises(StoreError, match="front.json cannot be written"):
        write_atomically(path, "new")
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = Path("/dev/full")


@pytest.mark.skipif(not FULL_DISK.exists(), reason="this system has no device that is always full")
def test_append_to_a_full_disk_says_so() -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        append_json_line(FULL_DISK, {"number": 1})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied"),
        (OSError("no number"), "no number"),
    ],
)
def test_os_errors_are_told_in_words(error: OSError, words: str) -> None:
    assert explain_os_error(error) == words


def test_json_lines_are_plain_json(run: RunDirectory) -> None:
    append_json_line(run.cells, {"a": [1, None, "x"]})
    assert json.loads(run.cells.read_text()) == {"a": [1, None, "x"]}
