"""How ssh is called: it asks nobody, trusts nobody new, and keeps its socket where nobody else can look."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from litefront.objectives.devices.ssh_connection import BoardRefusalError, SshConnection

# Notes what it was called with.
SSH = """#!/bin/sh
printf '%s\\n' "$@" > {noted}
cat > /dev/null
echo it ended >&2
exit 3
"""


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program in the place of ssh; what it is called with stands in this file."""
    (tmp_path / "bin").mkdir()
    program, noted = tmp_path / "bin" / "ssh", tmp_path / "noted"
    program.write_text(SSH.format(noted=noted), encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return noted


def options(noted: Path) -> list[str]:
    with pytest.raises(BoardRefusalError, match="it ended"):
        SshConnection("pi", "~/venv/bin/python").ask({"action": "look"}, timeout_s=60)
    return noted.read_text(encoding="utf-8").splitlines()


def socket_of(noted: Path) -> Path:
    return Path(next(line for line in options(noted) if "ControlPath" in line).partition("=")[2])


def test_ssh_never_asks_and_checks_the_host(noted: Path) -> None:
    given = options(noted)
    assert "-oBatchMode=yes" in given
    assert not [option for option in given if "HostKey" in option or "KnownHosts" in option]
    assert given[-3:-1] == ["--", "pi"]
    assert given[-1].startswith("exec venv/bin/python -IS -c ")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_the_socket_is_in_a_private_folder(noted: Path, temporary: Path) -> None:
    folder = socket_of(noted).parent
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_sockets_path_is_short_wherever_temporary_files_are(
    noted: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / ("x" * 60)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / ("x" * 60)))
    assert len(str(socket_of(noted))) < 80


def test_a_folder_that_others_can_look_into_is_not_used(noted: Path, temporary: Path) -> None:
    taken = temporary / f"litefront-ssh-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    folder = socket_of(noted).parent
    assert folder != taken
    assert folder.stat().st_mode & 0o777 == 0o700
