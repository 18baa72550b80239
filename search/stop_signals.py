"""How a run is stopped from outside: a first Ctrl-C or SIGTERM lets what runs finish, a second one does not."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_signals"]

_log = logging.getLogger(__name__)


@contextmanager
def stop_signals(on_stop: Callable[[int], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a flag; the second one raises KeyboardInterrupt at once.

    Args:
        on_stop: Told the number of the first signal.

    Yields:
        Whether a signal has come.
    """
    stopped = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        on_stop(number)
        _log.warning("%s: finishing what runs; once more ends it at once.", signal.Signals(number).name)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for watched, handler in previous.items():
            signal.signal(watched, handler)
