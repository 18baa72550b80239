"""Keeps what native libraries write to standard error off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["muted_stderr"]


@contextlib.contextmanager
def muted_stderr() -> Iterator[None]:
    """Sends standard error nowhere for a while, for the whole process.

    Native libraries write to the file descriptor itself (missing GPUs, delegates that were made), some before any of
    their settings for logging holds. What they raise comes through as it would.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
