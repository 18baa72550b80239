"""Claims: one holder at a time, whatever becomes of it, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from litefront.search.claims import claim_file

HOLD = """
import sys
from pathlib import Path
from litefront.search.claims import claim_file

claim = claim_file(Path(sys.argv[1]))
print("none" if claim is None else "held", flush=True)
sys.stdin.read()
"""

# Claims again and again, and adds one to a number that only the claim keeps from being lost.
COUNT = """
import sys
import time
from pathlib import Path
from litefront.search.claims import claim_file

path, counter = Path(sys.argv[1]), Path(sys.argv[2])
left = int(sys.argv[3])
while left:
    claim = claim_file(path)
    if claim is None:
        time.sleep(0)
        continue
    with claim:
        counter.write_text(str(int(counter.read_text()) + 1))
        left -= 1
"""


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A second process that holds the claim."""
    process = python(HOLD, path)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_of_two_claims_in_a_process_gets_it(tmp_path: Path) -> None:
    with claim_file(tmp_path / "key") as held:
        assert held is not None
        assert claim_file(tmp_path / "key") is None
        with claim_file(tmp_path / "other"):
            pass
    again = claim_file(tmp_path / "key")
    assert again is not None
    again.release()


def test_a_released_claim_leaves_no_file_and_can_be_released_twice(tmp_path: Path) -> None:
    claim = claim_file(tmp_path / "key")
    assert claim is not None
    claim.release()
    other = claim_file(tmp_path / "key")
    claim.release()
    assert claim_file(tmp_path / "key") is None, "the second release is not that of another's claim"
    assert other is not None
    other.release()
    assert list(tmp_path.iterdir()) == []


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "key") as process:
        assert claim_file(tmp_path / "key") is None
        process.kill()
        process.wait()
        claim = claim_file(tmp_path / "key")
        assert claim is not None
        claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_keep_a_released_claim(tmp_path: Path) -> None:
    claim = claim_file(tmp_path / "key")
    assert claim is not None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        kept = claim.path.with_name("kept")
        os.link(claim.path, kept)
        claim.release()
        # The same inode: a lock that the child still had would show.
        again = claim_file(kept)
        assert again is not None
        again.release()
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(child, 0)


def test_a_claim_on_a_file_that_was_removed_meanwhile_is_one_on_the_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    opened = os.open

    def removed_after_opening(name: Path, *rest: int) -> int:
        descriptor = opened(name, *rest)
        monkeypatch.setattr(os, "open", opened)
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", removed_after_opening)
    with claim_file(path) as claim:
        assert claim is not None and path.exists()
        assert claim_file(path) is None


def test_processes_that_fight_for_a_claim_never_hold_it_together(tmp_path: Path) -> None:
    path, counter = tmp_path / "key", tmp_path / "counter"
    counter.write_text("0")
    fighters = [python(COUNT, path, counter, 300) for _ in range(3)]
    assert [(fighter.communicate(timeout=120), fighter.returncode)[1] for fighter in fighters] == [0, 0, 0]
    assert counter.read_text() == "900"
    assert not path.exists()


def test_a_claim_that_cannot_be_made_is_an_error_and_not_another_holder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        claim_file(tmp_path / "nothing" / "key")
