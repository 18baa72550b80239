"""A board at the other end of a connection: has files sent there once, and the runner run there, through absences."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from litefront.objectives import runner
from litefront.objectives.devices.ssh_connection import BoardRefusalError, ConnectionLostError, SshConnection
from litefront.objectives.runner_process import judge
from litefront.spaces.errors import CandidateError

__all__ = ["Board"]

_log = logging.getLogger(__name__)

_MAX_LOSSES = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0
_LOOK_TIMEOUT_S = 60.0
_TURN_S = 3600.0
_GRACE_S = 60.0
# A bad wireless network; what is slower than that is not there.
_SLOWEST_BYTES_PER_S = 50e3


@dataclass(frozen=True)
class _KeptFile:
    """A file here that a board keeps."""

    path: Path
    bytes: int
    sha256: str


class Board:
    """Runs requests on a board.

    Args:
        connection: The way to it.
        folder: Where it keeps files, relative to its home directory.
        max_absence_s: How long a board that was lost is waited for.
        runner: The program that answers requests there.
    """

    def __init__(
        self, connection: SshConnection, folder: str, max_absence_s: float, runner: Path = Path(runner.__file__)
    ) -> None:
        self._connection = connection
        self._runner = runner
        self._folder = folder.removeprefix("~/")
        self._max_absence_s = max_absence_s

    def run(
        self,
        request: Mapping[str, Any],
        *,
        timeout_s: float,
        alone: bool = False,
        outputs: Path | None = None,
        waits: bool = True,
    ) -> dict[str, Any]:
        """Has the board's runner answer a request.

        Args:
            request: The request, see `runner`; each `Path` in it is a file here that the board needs.
            timeout_s: After this the runner is ended.
            alone: Whether nothing else may run beside it; it is not run at all on a board that is throttled.
            outputs: Where the file is brought that the runner writes as its `outputs`.
            waits: Whether a board that is lost is waited for.

        Returns:
            The runner's reply, and in `health` what the board said of itself before and after; `health` alone if the
            runner was not run.

        Raises:
            CandidateError: If the runner refuses, crashes, hangs, or answers something else than its reply.
            BoardRefusalError: If the board is lost and does not come back, or cannot do what is asked.
        """
        losses = 0
        while True:
            try:
                return self._run_once(request, timeout_s=timeout_s, alone=alone, outputs=outputs)
            except ConnectionLostError as loss:
                losses += 1
                if not waits or losses > _MAX_LOSSES:
                    raise
                _log.info("%s; waiting for it up to %g s.", loss, self._max_absence_s)
                self._await_return(loss)

    def _run_once(
        self, request: Mapping[str, Any], *, timeout_s: float, alone: bool, outputs: Path | None
    ) -> dict[str, Any]:
        needs: dict[str, _KeptFile] = {}
        program = _kept(self._runner, needs)
        output = None if outputs is None else f"output-{secrets.token_hex(8)}{outputs.suffix}"
        job = {
            "action": "run",
            "folder": self._folder,
            "runner": program,
            "request": {**_on_board(request, needs), "outputs": output, "timeout_s": timeout_s},
            "needs": {name: file.bytes for name, file in needs.items()},
            "alone": alone,
            "turn_s": _TURN_S,
            "timeout_s": timeout_s,
            "output": output,
        }
        waiting_s = _TURN_S + timeout_s + _GRACE_S
        reply = self._connection.ask(job, timeout_s=waiting_s, answer=outputs)
        if missing := reply.get("missing"):
            for name in missing:
                self._put(name, needs[name])
            reply = self._connection.ask(job, timeout_s=waiting_s, answer=outputs)
        if "missing" in reply:
            raise BoardRefusalError(f"{self._connection.host} must keep the files that it is sent, but they are gone")
        return _judged(reply, timeout_s)

    def _put(self, name: str, file: _KeptFile) -> None:
        request = {
            "action": "put",
            "folder": self._folder,
            "name": name,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        self._connection.ask(request, timeout_s=_GRACE_S + file.bytes / _SLOWEST_BYTES_PER_S, body=file.path)

    def _await_return(self, loss: ConnectionLostError) -> None:
        """Returns once the board answers again; a reboot takes a minute or two."""
        deadline, pause_s = time.monotonic() + self._max_absence_s, _FIRST_PAUSE_S
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise ConnectionLostError(f"{loss}; it was not back after {self._max_absence_s:g} s") from loss
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            with suppress(ConnectionLostError):
                self._connection.ask({"action": "look", "folder": self._folder}, timeout_s=_LOOK_TIMEOUT_S)
                return


def _on_board(value: Any, needs: dict[str, _KeptFile]) -> Any:
    """A request with each file's name on the board in the place of its path here; the files are added to `needs`."""
    if isinstance(value, Mapping):
        return {name: _on_board(part, needs) for name, part in value.items()}
    return _kept(value, needs) if isinstance(value, Path) else value


def _kept(path: Path, needs: dict[str, _KeptFile]) -> str:
    """The name under which a board keeps a file: it says what is in it."""
    found = path.stat()
    sha256 = _digest(str(path), found.st_size, found.st_mtime_ns, found.st_ino)
    name = f"kept-{sha256}{path.suffix}"
    needs[name] = _KeptFile(path, found.st_size, sha256)
    return name


@lru_cache(maxsize=64)
def _digest(path: str, _size: int, _changed_ns: int, _inode: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _judged(reply: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    health = {"health": reply["health"]}
    if "ended" not in reply:
        return health
    if reply["ended"] == "overdue":
        raise CandidateError(f"hung: no answer within {timeout_s:g} s")
    return judge(reply["ended"], reply["stdout"], reply["stderr"]) | health
