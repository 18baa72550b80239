"""A runner that stays: it has imported what every request needs, and answers each in a process of its own."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from litefront.objectives.runner_process import RUNNER, judge
from litefront.spaces.errors import CandidateError

__all__ = ["RunnerServer", "runner_server"]

# The server itself ends a request that takes too long; one that does not even do that is ended from outside.
_GRACE_S = 10.0


class RunnerServer:
    """Starts a runner when it is first asked, and again whenever it has ended. Used by one thread at a time.

    Starting Python and importing LiteRT takes 0.3 s, as long as a measurement; a fork takes a millisecond, and keeps
    what one candidate does to its process from the next one.

    Args:
        command: What to start; it must answer as `runner` does with `--serve`.
    """

    def __init__(self, command: Sequence[str] = (*RUNNER, "--serve")) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Sends one request; see `runner_process.run_request`.

        Raises:
            CandidateError: If the runner refuses, crashes, hangs, or answers something else than its reply.
        """
        process = self._running()
        line = json.dumps({**request, "timeout_s": timeout_s}) + "\n"
        assert process.stdin is not None, "it was started with a pipe"
        with suppress(BrokenPipeError):  # what it said before it ended is read below
            process.stdin.write(line.encode())
            process.stdin.flush()
        output, ended = self._read(process, timeout_s + _GRACE_S)
        if ended == "overdue":
            raise CandidateError(f"hung: no answer within {timeout_s:g} s")
        assert isinstance(ended, int), "it is an exit code otherwise"
        return judge(ended, output, output)

    def close(self) -> None:
        """Ends the runner and whatever runs in it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            # In a session of its own, a Ctrl-C for litefront does not cut a figure short.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    def _read(self, process: subprocess.Popen[bytes], timeout_s: float) -> tuple[str, int | str]:
        """What was printed before the line that says how the request ended, and how it did."""
        assert process.stdout is not None, "it was started with a pipe"
        poll, deadline, content = select.poll(), time.monotonic() + timeout_s, b""
        poll.register(process.stdout, select.POLLIN | select.POLLHUP)
        while (ended := _ended(content)) is None:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1e3):
                self.close()
                return "", "overdue"
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                return content.decode(errors="replace"), process.wait()
            content += chunk
        return content.decode(errors="replace").rstrip("\n").rpartition("\n")[0], ended


def _ended(content: bytes) -> int | str | None:
    """How the request ended, if the last line says so."""
    if not content.endswith(b"\n"):
        return None
    last = content[:-1].rpartition(b"\n")[2]
    with suppress(ValueError):
        line = json.loads(last)
        if isinstance(line, dict) and "ended" in line:
            return line["ended"]  # type: ignore[no-any-return]
    return None


@cache
def runner_server() -> RunnerServer:
    """This process's own server."""
    server = RunnerServer()
    atexit.register(server.close)
    return server
