"""Real processes that end while they are watched."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from litefront.search import lifeline
from litefront.search.lifeline import Lifeline, answers
from litefront.spaces.errors import WorkersError

LISTENER = """
import socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen()
print("ready", flush=True); sys.stdin.read()
"""


def test_a_raylet_that_is_killed_is_noticed(tmp_path: Path) -> None:
    path = str(tmp_path / "raylet")
    arguments = [sys.executable, "-c", LISTENER, path]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as raylet:
        assert raylet.stdout is not None
        raylet.stdout.readline()
        watched = Lifeline(path, None)
        assert watched.check()
        raylet.kill()
        raylet.wait()
        with pytest.raises(WorkersError, match="raylet"):
            watched.check()
        watched.close()


def test_a_head_that_is_silent_for_too_long_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        watched = Lifeline(None, address)
        assert watched.check()
    assert not watched.check()
    monkeypatch.setattr(lifeline, "_HEAD_GRACE_S", 0.0)
    with pytest.raises(WorkersError, match=f"head at {address}"):
        watched.check()


def test_what_is_no_address_does_not_answer() -> None:
    assert not answers("nowhere")
    assert not answers("127.0.0.1:99999")


def test_nothing_to_watch_is_alive() -> None:
    assert Lifeline(None, None).check()
