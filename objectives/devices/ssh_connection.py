"""Runs the board's agent through the user's own OpenSSH client, with whatever their configuration says of the host."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import stat
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from litefront.objectives.devices import board_agent

__all__ = ["BoardRefusalError", "ConnectionLostError", "SshConnection"]

_AGENT = Path(board_agent.__file__)

# What ssh itself ends with; the board's Python never does.
_SSH_FAILED = 255
_ALIVE_S, _ALIVE_COUNT = 10, 3
_PERSIST_S = 60
# A socket's path has 107 bytes, of which ssh takes 17 while it makes one.
_LONGEST_FOLDER = 60

# What ssh and the board's shell say, and the rule that did not hold.
_RULES = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "must have the host key that your known hosts have for it"),
    (r"Host key verification failed", "must have a known host key (log in once with `ssh`, and compare it)"),
    (r"Permission denied|Too many authentication failures", "must let you in by a key, without a password"),
    (r"Could not resolve|Name or service not known", "must be a host that your ssh configuration or the network knows"),
    (r"Can't open user config|Bad configuration|Bad owner or permissions", "must be described by a valid ssh config"),
    (r"not found|No such file|command not found", "must have the Python that `python` names"),
)


class BoardRefusalError(Exception):
    """Why the board cannot be used: the rule, then what came."""


class ConnectionLostError(BoardRefusalError):
    """The board could not be reached, or was lost on the way: it may be back later."""


class SshConnection:
    """A way to a board that is opened when it is first needed, and again when it was lost.

    One connection carries all requests; it closes itself a minute after the last one if this process cannot close it.

    Args:
        host: As the user's ssh takes it.
        python: The board's Python, relative to the home directory there or to be found on its path.
        config: Another ssh configuration than the user's own.
        connect_timeout_s: How long to wait for an answer, whole seconds.
    """

    def __init__(self, host: str, python: str, *, config: str | None = None, connect_timeout_s: int = 10) -> None:
        self.host = host
        self._python = python.removeprefix("~/")
        self._config = config
        self._connect_timeout_s = connect_timeout_s
        self._socket: str | None = None

    def ask(
        self, request: Mapping[str, Any], *, timeout_s: float, body: Path | None = None, answer: Path | None = None
    ) -> dict[str, Any]:
        """Sends one request to the agent.

        Args:
            request: The request, see `board_agent`.
            timeout_s: After this the connection is given up, and the agent ends what it has started.
            body: The file that goes with it.
            answer: Where the file that comes back is written.

        Returns:
            The agent's reply.

        Raises:
            ConnectionLostError: If there is no connection, or it broke.
            BoardRefusalError: If the board lacks what is asked of it.
        """
        mark = secrets.token_hex(16)
        with ExitStack() as files:
            # Files need no thread that fills and empties pipes, and may be as large as they like.
            source, sink, errors = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            _write_request(source, {**request, "mark": mark}, body)
            code = self._run(source, sink, errors, timeout_s)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            sink.seek(0)
            reply = _read_reply(sink, mark, answer)
        if reply is None:
            raise self._failure(code, said)
        if "refused" in reply:
            raise BoardRefusalError(f"{self.host} must be able to do its part, but {reply['refused']}")
        return reply

    def close(self) -> None:
        """Ends the connection; it may be used again."""
        if self._socket is not None:
            _close_connection(self._socket, self._ending())

    def _run(self, source: IO[bytes], sink: IO[bytes], errors: IO[bytes], timeout_s: float) -> int:
        self._open_socket()
        # Isolated: no file in the home directory takes the place of a module, and no packages are looked for.
        remote = f"exec {shlex.quote(self._python)} -IS -c {shlex.quote(_loader())}"
        process = subprocess.Popen(
            [*self._command(), "-T", "--", self.host, remote],
            stdin=source,
            stdout=sink,
            stderr=errors,
            # A Ctrl-C for litefront does not cut a figure short.
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ConnectionLostError(f"{self.host} must answer, but nothing came within {timeout_s:g} s") from None
        finally:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": self._connect_timeout_s,
            "ServerAliveInterval": _ALIVE_S,
            "ServerAliveCountMax": _ALIVE_COUNT,
            "ControlMaster": "auto",
            "ControlPath": self._socket,
            "ControlPersist": _PERSIST_S,
            # What a configuration for people may hold, and a program does not want.
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "PermitLocalCommand": "no",
            "ClearAllForwardings": "yes",
            "LogLevel": "ERROR",
        }
        config = [] if self._config is None else ["-F", self._config]
        return ["ssh", *config, *(f"-o{name}={value}" for name, value in options.items())]

    def _open_socket(self) -> None:
        """Names the connection's socket, and has the connection end with this process at the latest."""
        if self._socket is None:
            self._socket = f"{_private_folder()}/{secrets.token_hex(4)}"
            weakref.finalize(self, _close_connection, self._socket, self._ending())

    def _ending(self) -> list[str]:
        return [*self._command(), "-O", "exit", "--", self.host]

    def _failure(self, code: int, said: str) -> BoardRefusalError:
        """What an end without a reply means."""
        words = " ".join(said.split())[-300:] or f"it ended with code {code} and said nothing"
        rule = next((rule for pattern, rule in _RULES if re.search(pattern, said)), None)
        if code in (_SSH_FAILED, -9):
            return ConnectionLostError(f"{self.host} {rule or 'must be reached, and stay so'}, but: {words}")
        return BoardRefusalError(f"{self.host} {rule or 'must run Python 3.8 or later'}, but: {words}")


def _loader() -> str:
    """What the board's Python is started with: it reads as much of its input as is the agent, and runs it."""
    return f"import sys; exec(sys.stdin.buffer.read({_AGENT.stat().st_size}).decode())"


def _write_request(source: IO[bytes], request: Mapping[str, Any], body: Path | None) -> None:
    source.write(_AGENT.read_bytes())
    source.write(f"{json.dumps(request)}\n".encode())
    if body is not None:
        with open(body, "rb") as file:
            shutil.copyfileobj(file, source)
    source.seek(0)


def _read_reply(sink: IO[bytes], mark: str, answer: Path | None) -> dict[str, Any] | None:
    """The reply behind the mark, with what follows it put into a file; None if there is no mark."""
    for line in sink:
        _noise, found, reply = line.partition(mark.encode())
        if found:
            break
    else:
        return None
    if not reply.endswith(b"\n"):
        return None
    read: dict[str, Any] = json.loads(reply)
    if answer is not None and read.get("output_bytes") is not None:
        with open(answer, "wb") as file:
            shutil.copyfileobj(sink, file)
        if answer.stat().st_size != read["output_bytes"]:
            return None
    return read


def _private_folder() -> Path:
    """A folder for sockets that no other user can look into; ssh itself removes each socket at its end."""
    usual = tempfile.gettempdir()
    above = usual if len(usual) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108
    folder = Path(above) / f"litefront-ssh-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    # Somebody else has taken the name.
    return Path(tempfile.mkdtemp(prefix="litefront-ssh-", dir=above))


def _close_connection(socket: str, command: list[str]) -> None:
    if os.path.exists(socket):
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, capture_output=True, timeout=_ALIVE_S)
