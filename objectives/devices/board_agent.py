"""What runs on a board: keeps files there, and runs the runner with nothing beside it.

The connection sends this source to the board's Python on its standard input, and behind it a line of JSON, the request,
and a body. The answer on standard output is the request's `mark` and a line of JSON, and a body; whatever a login shell
prints stands before the mark. It imports nothing but the standard library, and no later one than Python 3.8's, so that
an old Python is told what it lacks and does not stumble over the syntax.

Actions, each in `folder`, relative to the home directory:
    put  {name, bytes, sha256}, the body is the file -> keeps it under that name, once it has arrived whole
    run  {runner, needs, request, alone, turn_s, timeout_s, output}
         -> `missing`, the files of `needs` (name to size) that are not here; else how the runner ended, with what it
         printed, the board's health before and after, and the file `output` as the body, if it left one. `alone` lets
         nothing else of this user's run beside it, and does not begin on a board that is throttled
    look {} -> the board's health
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["BoardError", "answer", "board_health", "sweep", "throttling"]

_CHUNK = 1 << 20
_KEPT_S = 7 * 24 * 3600.0
_KEPT_BYTES = 4 << 30
# What another run of this user may still be at is not taken away from it.
_IN_USE_S = 3600.0
_LOOK_S = 0.2
_NAMES = ("kept-", "part-", "output-")

_THROTTLED_NOW = 0xF
"""Under-voltage, frequency capped, throttled, soft temperature limit."""


class BoardError(Exception):
    """Why the board cannot do what was asked."""


def answer(source: BinaryIO, sink: BinaryIO) -> None:
    """Answers the request that `source` holds."""
    request = json.loads(source.readline())
    body = None
    try:
        folder = os.path.join(os.path.expanduser("~"), request["folder"])
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chdir(folder)
        reply = _ACTIONS[request["action"]](request, source)
        if (body := reply.pop("body", None)) is not None:
            reply["output_bytes"] = os.fstat(body.fileno()).st_size
    except BoardError as error:
        reply = {"refused": str(error)}
    except OSError as error:
        reply = {"refused": f"{request['folder']} cannot be used: {error.strerror or error}"}
    sink.write(f"{request['mark']}{json.dumps(reply)}\n".encode())
    if body is not None:
        with body:
            shutil.copyfileobj(body, sink, _CHUNK)
    sink.flush()


def _put(request: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    sweep(".", _KEPT_BYTES)
    if _free_bytes() < request["bytes"]:
        sweep(".", 0)
    if _free_bytes() < request["bytes"]:
        raise BoardError(_no_space(request))
    part, digest, left = f"part-{os.getpid()}-{request['name']}", hashlib.sha256(), request["bytes"]
    try:
        with open(part, "wb") as file:
            while left and (chunk := source.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if left or digest.hexdigest() != request["sha256"]:
            raise BoardError(f"{request['name']} arrived damaged, with {left} of {request['bytes']} bytes missing")
        os.replace(part, request["name"])
    except OSError as error:
        raise BoardError(f"{_no_space(request)}: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    return {}


def _run(request: dict[str, Any], _source: BinaryIO) -> dict[str, Any]:
    missing = [name for name, size in request["needs"].items() if not _is_there(name, size)]
    if missing:
        return {"missing": missing}
    with _turn(alone=request["alone"], wait_s=request["turn_s"]):
        before = board_health()
        if request["alone"] and (before["throttled"] or 0) & _THROTTLED_NOW:
            return {"health": {"before": before, "after": before}}
        reply = _runner_reply(request)
        reply["health"] = {"before": before, "after": board_health()}
    output = request["output"]
    if output and os.path.exists(output):
        reply["body"] = open(output, "rb")  # noqa: SIM115 - whoever sends it closes it
        os.unlink(output)
    return reply


def _look(_request: dict[str, Any], _source: BinaryIO) -> dict[str, Any]:
    return {"health": board_health()}


_ACTIONS = {"put": _put, "run": _run, "look": _look}


# ------------------------------------------------------------------------------------------------------ files


def _is_there(name: str, size: int) -> bool:
    """Whether the file is kept here, and notes that it is used."""
    try:
        os.utime(name)
        return os.path.getsize(name) == size
    except OSError:
        return False


def sweep(folder: str, kept_bytes: int) -> None:
    """Removes files that were not used for a week, then those that were not used longest.

    Args:
        folder: Where the files are.
        kept_bytes: What all of them together may take; those of the last hour stay.
    """
    entries = [entry for entry in os.scandir(folder) if entry.name.startswith(_NAMES)]
    total, now = 0, time.time()
    for entry in sorted(entries, key=lambda entry: -entry.stat().st_mtime):
        unused_s = now - entry.stat().st_mtime
        total += entry.stat().st_size
        if unused_s > _KEPT_S or (total > kept_bytes and unused_s > _IN_USE_S):
            os.unlink(entry.path)


def _free_bytes() -> int:
    found = os.statvfs(".")
    return found.f_bavail * found.f_frsize


def _no_space(request: dict[str, Any]) -> str:
    needed, free = request["bytes"] / 1e6, _free_bytes() / 1e6
    return f"there is no space in {request['folder']}: {needed:.1f} MB are needed, {free:.1f} MB are free"


# --------------------------------------------------------------------------------------------------- the turn


@contextlib.contextmanager
def _turn(*, alone: bool, wait_s: float) -> Iterator[None]:
    """Lets run one measurement alone, or any number of other requests.

    Whoever waits for the room stands in the gate, so that a measurement does not wait for ever while others come and
    go.
    """
    deadline = time.monotonic() + wait_s
    with open("room.lock", "a") as room:
        with open("gate.lock", "a") as gate:
            _lock(gate, fcntl.LOCK_EX, deadline)
            _lock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, deadline)
        yield


def _lock(file: Any, mode: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BoardError("others were measuring on it all the time") from None
            _end_if_alone(_LOOK_S)
        else:
            return


def _end_if_alone(wait_s: float) -> None:
    """Waits, and ends this process if nobody is at the other end of its output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(wait_s * 1e3):
        raise SystemExit(1)


# ------------------------------------------------------------------------------------------------- the runner


def _runner_reply(request: dict[str, Any]) -> dict[str, Any]:
    """How the runner ended; nothing that it has started outlives this."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, request["runner"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            _send(process, request["request"])
            printed = _printed(process, request["timeout_s"])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
        said = errors.read().decode(errors="replace")
    if printed is None:
        return {"ended": "overdue"}
    return {"ended": process.returncode, "stdout": printed.decode(errors="replace"), "stderr": said}


def _send(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None, "it was started with a pipe"
    with contextlib.suppress(BrokenPipeError):  # what it said before it ended is read
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()


def _printed(process: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
    """What the runner prints until it ends; None if it takes too long.

    Wakes up for nothing else, and ends this process with the runner if the connection is gone meanwhile.
    """
    assert process.stdout is not None, "it was started with a pipe"
    poll, deadline, content = select.poll(), time.monotonic() + timeout_s, b""
    poll.register(process.stdout, select.POLLIN)
    poll.register(sys.stdout.fileno(), 0)
    while True:
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1e3))
        if sys.stdout.fileno() in ready:
            raise SystemExit(1)
        if not ready:
            return None
        chunk = os.read(process.stdout.fileno(), _CHUNK)
        content += chunk
        if not chunk:
            break
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return content


# --------------------------------------------------------------------------------------------------- the board


def board_health() -> dict[str, Any]:
    """What the board says of its own state.

    Returns:
        `throttled`, the flags of `vcgencmd get_throttled` (None where there are none), `clocks_mhz`, one a processor,
        and `temperatures_c` by zone; empty where the kernel does not tell.
    """
    clocks = [_number(path) for path in sorted(glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"))]
    zones = {path: _number(f"{path}/temp") for path in sorted(glob.glob("/sys/class/thermal/thermal_zone*"))}
    return {
        "throttled": _throttled(),
        "clocks_mhz": [clock / 1e3 for clock in clocks if clock is not None],
        "temperatures_c": {os.path.basename(path): heat / 1e3 for path, heat in zones.items() if heat is not None},
    }


def throttling(before: dict[str, Any], after: dict[str, Any]) -> int:
    """The flags that spoil what was timed between: those that are set at an end, and those that came up meanwhile.

    Bits 0 to 3 of the flags say what is now, 16 to 19 the same of all time since the board started.
    """
    first, last = before["throttled"] or 0, after["throttled"] or 0
    return ((first | last) & _THROTTLED_NOW) | (((first ^ last) >> 16) & _THROTTLED_NOW)


def _throttled() -> int | None:
    try:
        told = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, timeout=10, check=True).stdout
        return int(told.decode().partition("=")[2], 0)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    answer(sys.stdin.buffer, sys.stdout.buffer)
