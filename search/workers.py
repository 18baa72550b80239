"""Where stages run: the interface, and the workers that run them in this very process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from litefront.objectives.devices import DeviceFacts
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone, run_stage
from litefront.search.workplace import Workplace
from litefront.spaces.delegate import Delegate

__all__ = ["Place", "SerialWorkers", "Workers"]


class Place(StrEnum):
    """Where a stage runs, as far as measurements care."""

    DEVICE = "device"
    """On the device's machine: what builds there may disturb a measurement."""
    ELSEWHERE = "elsewhere"
    """On any other machine."""


class Workers(Protocol):
    """Runs stages. Used by one thread; `start` never blocks for the length of a stage."""

    @property
    def slots(self) -> int:
        """How many stages may run beside each other now; machines that join and leave change it."""
        ...

    def probe(self) -> DeviceFacts:
        """What the device says of itself, asked where it measures.

        Raises:
            InputError: If LiteRT does not run there.
        """
        ...

    def places(self, call: StageCall) -> frozenset[Place]:
        """Where the stage could start now; for one that leases the device, the device's machine or nowhere.

        Measurements may be started while another one runs: they stand in line for the device.

        Raises:
            CandidateError: If there is no machine for it, and none is waited for any more.
        """
        ...

    def start(self, call: StageCall, place: Place) -> None:
        """Begins a stage at one of its `places`; its end comes out of `wait`."""
        ...

    def wait(self, timeout_s: float) -> list[StageDone]:
        """The stages that have ended; waits up to `timeout_s` for the first, and gives none after that.

        Of measurements that were started together none counts as ended before the last one has, so that who hears of
        it may think without disturbing the others.

        Raises:
            WorkersError: If whatever runs the stages is gone.
        """
        ...

    def recall(self) -> list[StageCall]:
        """Takes the measurements back that stand in line and have not begun; gives their calls."""
        ...

    def close(self) -> None:
        """Ends whatever still runs and gives everything back; may be called twice."""
        ...


class SerialWorkers:
    """Runs each stage in this process when it is waited for: for debugging, and where Ray is not worth its start.

    Args:
        workplace: What stages need.
        delegates: Those that the device is asked about.
    """

    def __init__(self, workplace: Workplace, *, delegates: Collection[Delegate] = ()) -> None:
        self._workplace = workplace
        self._delegates = delegates
        self._waiting: deque[StageCall] = deque()

    @property
    def slots(self) -> int:
        """One stage at a time."""
        return 1

    def probe(self) -> DeviceFacts:
        """What the device says of itself."""
        return self._workplace.device.probe(self._delegates)

    def places(self, call: StageCall) -> frozenset[Place]:
        """This process, unless a stage is in line already."""
        return frozenset() if self._waiting else frozenset({Place.DEVICE})

    def start(self, call: StageCall, place: Place) -> None:
        """Puts the stage in line."""
        self._waiting.append(call)

    def wait(self, timeout_s: float) -> list[StageDone]:
        """Runs the first stage in line, however long it takes."""
        if not self._waiting:
            time.sleep(timeout_s)
            return []
        return [run_stage(self._waiting.popleft(), self._workplace)]

    def recall(self) -> list[StageCall]:
        """None: there is never more than one stage in line, which is as good as begun."""
        return []

    def close(self) -> None:
        """Forgets the stages in line."""
        self._waiting.clear()
