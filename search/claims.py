"""Claims: locks on files that the kernel drops with their process, and that leave nothing behind."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Claim", "claim_file"]


class Claim:
    """A file that this claim alone holds locked, until `release` or the end of its process, however that comes.

    Args:
        path: The file; removed on release.
        descriptor: Its open file descriptor, locked.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Gives the claim up; a second call does nothing."""
        if self._descriptor is None:
            return
        # Removed while it is still locked: whoever locks the removed file next sees that it is none any more.
        with suppress(OSError):
            self.path.unlink()
        # Closing alone would leave the lock to a forked child that has inherited the descriptor.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def claim_file(path: Path) -> Claim | None:
    """Locks a file, which is made if need be; None if another claim holds it, in this process or in another.

    Raises:
        OSError: If the file cannot be made, or its file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return Claim(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # Its former holder removed it between the opening and the locking.
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
