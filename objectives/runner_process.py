"""Starts the runner, and turns whatever becomes of it into a reply or a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from litefront.objectives import runner
from litefront.spaces.errors import CandidateError

__all__ = ["RUNNER", "judge", "run_request"]

RUNNER: tuple[str, ...] = (sys.executable, "-P", str(Path(runner.__file__)))
"""How the runner is started. `-P` keeps its folder off the module path, where its neighbours would hide others."""


def run_request(request: Mapping[str, Any], *, timeout_s: float, command: Sequence[str] = RUNNER) -> dict[str, Any]:
    """Sends one request to a runner of its own process.

    Args:
        request: The request, see `runner`.
        timeout_s: After this the runner is killed.
        command: What to start.

    Returns:
        The runner's reply.

    Raises:
        CandidateError: If the runner refuses, crashes, hangs, or answers something else than its reply.
    """
    # In a session of its own, a Ctrl-C for litefront does not cut a figure short.
    with subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(json.dumps({**request, "timeout_s": timeout_s}), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise CandidateError(f"hung: no answer within {timeout_s:g} s") from error
        finally:
            # The runner forks for cold starts: a child that hangs must not go on beside the next measurement.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return judge(process.returncode, stdout, stderr)


def judge(code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """The reply of a runner that has ended.

    Args:
        code: Its exit code, or minus the signal that ended it.
        stdout: What it printed; the reply is the last line.
        stderr: Where its last words are looked for.

    Raises:
        CandidateError: If it crashed, refused, or gave no reply.
    """
    if code < 0:
        raise CandidateError(f"crashed with {signal.Signals(-code).name}{_last_words(stderr)}")
    reply = _reply(stdout)
    if reply is None or code > 0:
        raise CandidateError(f"ended with code {code} and no reply{_last_words(stderr)}")
    if not reply["ok"]:
        raise CandidateError(f"refused: {reply['reason']}")
    return reply


def _reply(stdout: str) -> dict[str, Any] | None:
    lines = stdout.strip().splitlines()
    try:
        reply = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return None
    return reply if isinstance(reply, dict) and "ok" in reply else None


def _last_words(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return f": {lines[-1].strip()[:300]}" if lines else ""
