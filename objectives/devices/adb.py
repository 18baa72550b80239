"""The adb client: which phones are attached, a shell on one of them, and files that go there and back.

Written to adb's documented behaviour and to what the client says when no phone is attached; it has not met a phone yet.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from litefront.spaces.errors import CandidateError, InputError

__all__ = ["Adb", "ShellReply"]

_CLIENT_TIMEOUT_S = 30.0
_COPY_TIMEOUT_S = 300.0

# What the client says when the phone went away: a cable, a reboot, or Wi-Fi.
_LOST = re.compile(
    r"device '[^']*' not found|device offline|no devices/emulators found|error: closed|protocol fault"
    r"|device still (?:connecting|authorizing)"
)
_END = "[end]"
_HINTS = {
    "unauthorized": "allow USB debugging on its screen",
    "offline": "unplug it, or enter `adb reconnect`",
    "no permissions": "this user may not open its USB device",
}


@dataclass(frozen=True)
class ShellReply:
    """What a script on the phone printed, standard error among it, and its exit code."""

    text: str
    code: int


@dataclass(frozen=True)
class _ClientReply:
    stdout: str
    stderr: str
    code: int

    def last_words(self) -> str:
        """The last line that it printed; adb says what went wrong on either stream."""
        lines = [line.strip() for line in (self.stdout + "\n" + self.stderr).splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"adb ended with code {self.code} and no word"


class Adb:
    """Speaks to one phone.

    Args:
        client: The adb client's path.
        serial: The phone's; None for the only one that is attached.
        reconnect_s: How long a phone that went away is waited for, before what was asked of it is given up.
    """

    def __init__(self, client: str = "adb", serial: str | None = None, *, reconnect_s: float = 30.0) -> None:
        self._client = client
        self._serial = serial
        self._reconnect_s = reconnect_s

    def phone(self) -> str:
        """The serial of the phone.

        Raises:
            InputError: If there is no such phone, if it is not ready, or if it is not clear which one is meant.
        """
        try:
            states = _states(self._ask(["devices", "-l"], _CLIENT_TIMEOUT_S).stdout)
        except CandidateError as error:
            raise InputError(f"adb must say which phones are attached, but it {error}") from error
        listed = ", ".join(states) or "none"
        if self._serial is None and len(states) > 1:
            raise InputError(f"`serial` must say which phone is meant, but several are attached: {listed}.")
        serial = self._serial or next(iter(states), None)
        if serial is None:
            raise InputError("A phone must be attached, with USB debugging allowed, but `adb devices` lists none.")
        if serial not in states:
            raise InputError(f"The phone {serial} must be attached, but `adb devices` lists {listed}.")
        if (state := states[serial]) != "device":
            hint = f": {_HINTS[state]}" if state in _HINTS else ""
            raise InputError(f"The phone {serial} must be ready, but adb calls it {state}{hint}.")
        return serial

    def shell(self, script: str, *, timeout_s: float = _CLIENT_TIMEOUT_S) -> ShellReply:
        """Runs a script of the phone's shell.

        Args:
            script: Its lines. It may run twice, if the phone goes away meanwhile and comes back.
            timeout_s: After this the client is ended; what ends the script's own processes is the script's to say.

        Raises:
            CandidateError: If the phone is gone or does not answer.
        """
        # Old clients and phones do not hand the exit code on, and say nothing when the connection breaks off.
        reply = self._run(["shell", f'{{ {script}\n}} 2>&1; echo "{_END} $?"'], timeout_s)
        text, found, code = reply.stdout.replace("\r\n", "\n").rstrip("\n").rpartition(_END)
        if not found or not code.strip().isdigit():
            raise CandidateError(f"lost the phone: the connection broke off: {reply.last_words()}")
        return ShellReply(text, int(code))

    def push(self, local: Path, remote: str) -> None:
        """Copies a file or folder to the phone.

        Raises:
            CandidateError: If the phone is gone or does not take it.
        """
        reply = self._run(["push", str(local), remote], _COPY_TIMEOUT_S)
        if reply.code:
            raise CandidateError(f"{local.name} could not be copied to the phone: {reply.last_words()}")

    def pull(self, remote: str, local: Path) -> None:
        """Copies a file or folder from the phone.

        Raises:
            CandidateError: If the phone is gone or does not give it.
        """
        reply = self._run(["pull", remote, str(local)], _COPY_TIMEOUT_S)
        if reply.code:
            raise CandidateError(f"{remote} could not be copied from the phone: {reply.last_words()}")

    def _run(self, command: list[str], timeout_s: float) -> _ClientReply:
        """Asks the phone, and asks once more if it went away and came back."""
        whose = [] if self._serial is None else ["-s", self._serial]
        reply = self._ask([*whose, *command], timeout_s)
        if not _is_lost(reply):
            return reply
        try:
            back = self._ask([*whose, "wait-for-device"], self._reconnect_s).code == 0
        except CandidateError:
            back = False
        if back:
            reply = self._ask([*whose, *command], timeout_s)
        if _is_lost(reply):
            raise CandidateError(f"lost the phone: {reply.last_words()}")
        return reply

    def _ask(self, arguments: list[str], timeout_s: float) -> _ClientReply:
        """Runs the client; the server that it may start has a session of its own and stays."""
        try:
            # In a session of its own, a Ctrl-C for litefront does not cut a figure short.
            process = subprocess.Popen(
                [self._client, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise CandidateError(f"cannot be run as {self._client!r}: {error.strerror}") from error
        with process:
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                raise CandidateError(f"hung: no answer from adb within {timeout_s:g} s") from error
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return _ClientReply(stdout, stderr, process.returncode)


def _is_lost(reply: _ClientReply) -> bool:
    # Only the client's own words count: a script's output is on its standard output.
    words = reply.stderr if _END in reply.stdout else reply.stdout + reply.stderr
    return reply.code != 0 and _LOST.search(words) is not None


def _states(listing: str) -> dict[str, str]:
    """State by serial, from what `adb devices -l` prints."""
    states = {}
    for line in listing.splitlines():
        serial, _, rest = line.partition(" ") if "\t" not in line else line.partition("\t")
        state = rest.strip()
        if serial and state and not line.startswith(("List of devices", "*")):
            states[serial] = "no permissions" if state.startswith("no permissions") else state.split()[0]
    return states
