"""Where stages run: the interface, and the workers that run them in this very process."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from litefront.search.stage_calls import StageCall
from litefront.search.stage_functions import StageDone, Workplace, run_stage

__all__ = ["SerialWorkers", "Workers"]


class Workers(Protocol):
    """Runs stages. Used by one thread; `start` never blocks for the length of a stage."""

    @property
    def slots(self) -> int:
        """How many stages may run beside each other."""
        ...

    def start(self, call: StageCall) -> None:
        """Begins a stage; its end comes out of `wait`. A call that leases the device is given it alone."""
        ...

    def wait(self, timeout_s: float) -> list[StageDone]:
        """The stages that have ended; waits up to `timeout_s` for the first, and gives none after that."""
        ...

    def close(self) -> None:
        """Ends whatever still runs and gives everything back; may be called twice."""
        ...


class SerialWorkers:
    """Runs each stage in this process when it is waited for: for debugging, and where Ray is not worth its start.

    Args:
        workplace: What stages need.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._waiting: deque[StageCall] = deque()

    @property
    def slots(self) -> int:
        """One stage at a time."""
        return 1

    def start(self, call: StageCall) -> None:
        """Puts the stage in line."""
        self._waiting.append(call)

    def wait(self, timeout_s: float) -> list[StageDone]:
        """Runs the first stage in line, however long it takes."""
        return [run_stage(self._waiting.popleft(), self._workplace)] if self._waiting else []

    def close(self) -> None:
        """Forgets the stages in line."""
        self._waiting.clear()
