"""A board to test with: a real sshd on this machine, with keys of its own, that only this test reaches."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

VCGENCMD = """#!/bin/sh
# Says each line of the file once, and the last one from then on.
[ "$1" = get_throttled ] || exit 2
head -n 1 {flags}
[ $(wc -l < {flags}) -gt 1 ] && sed -i 1d {flags}
exit 0
"""


class LoopbackBoard:
    """A board that ssh reaches as `board` by the configuration in `config`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cache = folder / "cache"
        self.config = folder / "ssh_config"
        self.user_key, self.host_key = make_key(folder / "user_key"), make_key(folder / "host_key")
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.port = free_port()
        self._sshd: subprocess.Popen[bytes] | None = None
        self._write_configs()

    def entry(self, **changes: Any) -> dict[str, Any]:
        """The board as a study describes it; the keywords replace its keys."""
        return {
            "kind": "ssh",
            "host": "board",
            "power": "x86-host-1",
            "python": sys.executable,
            "folder": str(self.cache),
            "config": str(self.config),
            "connect_timeout_s": 5,
            "max_absence_s": 20.0,
            "cool_down_s": 0.0,
        } | changes

    def config_with(self, name: str, **options: Any) -> str:
        """Another configuration of ssh for the same board, with these options in the place of the right ones."""
        path = self._folder / name
        path.write_text(self._client_config(**options), encoding="utf-8")
        return str(path)

    def start(self) -> None:
        """Switches the board on."""
        assert SSHD is not None, "the fixture skips without one"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(self._folder / "sshd_config")]
        self._sshd = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not answers(self.port):
            assert self._sshd.poll() is None, "sshd did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Takes the board off the network, with all its connections."""
        assert self._sshd is not None
        # Held first: once it is gone, its connections are nobody's children, and meanwhile it would take another.
        self._sshd.send_signal(signal.SIGSTOP)
        self.drop_connections()
        self._sshd.kill()
        self._sshd.wait()

    def drop_connections(self) -> None:
        """Ends every connection; what runs on the board is not told."""
        for process in self.connections():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def connections(self) -> list[int]:
        """The processes of sshd that serve a connection each."""
        assert self._sshd is not None
        return [process for process in descendants(self._sshd.pid) if command_line(process).startswith("sshd")]

    def await_process(self, text: str) -> int:
        """Waits for a process of the board whose command line holds a text."""
        while not (found := self.processes(text)):
            time.sleep(0.01)
        return found[0]

    def processes(self, text: str) -> list[int]:
        """The processes that sshd has started, and theirs, whose command lines hold a text."""
        assert self._sshd is not None
        return [process for process in descendants(self._sshd.pid) if text in command_line(process)]

    def flags(self, *lines: str) -> None:
        """Gives the board a `vcgencmd` that says these flags, one a question and the last for ever."""
        told = self._folder / "flags"
        told.write_text("".join(f"throttled={line}\n" for line in lines), encoding="ascii")
        program = self.programs / "vcgencmd"
        program.write_text(VCGENCMD.format(flags=told), encoding="ascii")
        program.chmod(0o755)

    def kept(self) -> dict[str, int]:
        """The inode of each file that the board keeps: one that is sent again has another."""
        return {path.name: path.stat().st_ino for path in self.cache.glob("kept-*")}

    def _write_configs(self) -> None:
        (self._folder / "authorized_keys").write_bytes(self.user_key.with_suffix(".pub").read_bytes())
        (self._folder / "known_hosts").write_text(self.known_host(self.host_key), encoding="ascii")
        server = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.host_key,
            "AuthorizedKeysFile": self._folder / "authorized_keys",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "PidFile": "none",
            "SetEnv": f"PATH={self.programs}:/usr/local/bin:/usr/bin:/bin",
        }
        lines = "".join(f"{name} {value}\n" for name, value in server.items())
        (self._folder / "sshd_config").write_text(lines, encoding="utf-8")
        self.config.write_text(self._client_config(), encoding="utf-8")

    def known_host(self, key: Path) -> str:
        """The line of a `known_hosts` file that says this board has this key."""
        kind, public, *_ = key.with_suffix(".pub").read_text(encoding="ascii").split()
        return f"[127.0.0.1]:{self.port} {kind} {public}\n"

    def _client_config(self, **changes: Any) -> str:
        client = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": getpass.getuser(),
            "IdentityFile": self.user_key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self._folder / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
        } | changes
        return "Host board\n" + "".join(f"  {name} {value}\n" for name, value in client.items())


def loopback_board(folder: Path) -> Iterator[LoopbackBoard]:
    """A board that is switched on, for a fixture; skips the test where there is no sshd."""
    if SSHD is None:
        pytest.skip("no sshd (apt-get install openssh-server)")
    board = LoopbackBoard(folder)
    board.start()
    yield board
    board.stop()


def make_key(path: Path) -> Path:
    """A throw-away key, with its public half beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def descendants(process: int) -> list[int]:
    """All processes that this one has started, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
                )
    found = [process]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def command_line(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
