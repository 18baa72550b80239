"""Whether the Ray that a driver hangs on still lives: its tasks alone do not tell.

A driver whose raylet is killed waits for results that never come, and one whose head is gone is ended by Ray itself
after 60 s, without a word that a user could act on. So the processes themselves are watched.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from contextlib import suppress

from litefront.spaces.errors import WorkersError

__all__ = ["Lifeline", "answers"]

# Ray may restart a head; after 60 s without one it ends the driver.
_HEAD_GRACE_S = 20.0
_CONNECT_TIMEOUT_S = 2.0


class Lifeline:
    """Watches the raylet of this machine and the head of the cluster.

    Args:
        raylet_socket: The socket of the raylet that this process hangs on; None if it hangs on none.
        head: `host:port` of the cluster's head; None if this process does not talk to it.
    """

    def __init__(self, raylet_socket: str | None, head: str | None) -> None:
        self._raylet = None if raylet_socket is None else _process_behind(raylet_socket)
        self._head = head
        self._silent_since: float | None = None

    def check(self) -> bool:
        """Whether the head answers now.

        Raises:
            WorkersError: If the raylet has ended, or the head has been silent for too long.
        """
        if self._raylet is not None and _has_ended(self._raylet):
            raise WorkersError(
                "Ray must live as long as the run, but its process on this machine (the raylet) was killed or crashed; "
                "finished cells are kept, and the same command goes on from there."
            )
        if self._head is None or answers(self._head):
            self._silent_since = None
            return True
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > _HEAD_GRACE_S:
            raise WorkersError(
                f"Ray must live as long as the run, but its head at {self._head} has not answered for "
                f"{_HEAD_GRACE_S:g} s; finished cells are kept, and the same command goes on from there."
            )
        return False

    def close(self) -> None:
        """Stops watching."""
        if self._raylet is not None:
            os.close(self._raylet)
            self._raylet = None


def _process_behind(unix_socket: str) -> int | None:
    """A descriptor that becomes readable when the process that listens on a socket ends; None if there is none."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        connection.connect(unix_socket)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return os.pidfd_open(struct.unpack("3i", credentials)[0])
    return None


def _has_ended(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def answers(address: str) -> bool:
    """Whether something listens at `host:port`."""
    host, _, port = address.rpartition(":")
    with (
        suppress(OSError, ValueError, OverflowError),
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S),
    ):
        return True
    return False
