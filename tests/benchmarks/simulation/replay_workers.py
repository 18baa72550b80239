"""Workers that replay the recorded stages of an exhaustive run in virtual time.

A stage takes the seconds that it took then, on a clock of its own: a search that filled the machine for minutes passes
in seconds and can be repeated over many seeds. The scheduler and the sampler are the real ones, so their policies can
be judged by it; what a real run adds to the stages' own seconds (Ray's dispatch, the search's thinking) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from litefront.objectives.devices import DeviceFacts
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.workers import Place

__all__ = ["ReplayStore", "ReplayWorkers"]

_ATTEMPTS = 8


class ReplayStore(ArtifactStore):
    """Finds what has been replayed so far; objects of new stages are not needed, since nothing reads them.

    Args:
        root: An empty folder, for the study's own rows.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._replayed: dict[str, StageRecord] = {}

    def find(self, stage: str, key: str) -> StageRecord | None:
        """The record of a stage that has been replayed."""
        return self._replayed.get(key)

    def add(self, record: StageRecord) -> None:
        """Remembers a stage as replayed."""
        self._replayed[record.key] = record


@dataclass(frozen=True)
class _Running:
    call: StageCall
    record: StageRecord
    ends_s: float


class ReplayWorkers:
    """Replays stages on a virtual clock; measurements take all cores, one after the other, others one.

    Args:
        recorded: The store of the exhaustive run.
        store: Where the replayed stages are found again.
        cores: Cores of the virtual machine.
    """

    def __init__(self, recorded: ArtifactStore, store: ReplayStore, cores: int) -> None:
        self._recorded = recorded
        self._store = store
        self._cores = cores
        self._running: list[_Running] = []
        self.now_s = 0.0
        self.building_s = 0.0
        self.measuring_s = 0.0

    @property
    def slots(self) -> int:
        """One stage a core."""
        return self._cores

    def probe(self) -> DeviceFacts:
        """Never asked: the device of the exhaustive run is known."""
        raise NotImplementedError

    def places(self, call: StageCall) -> frozenset[Place]:
        """The one machine, if it has a core left."""
        return frozenset({Place.DEVICE}) if call.leases_device or self._busy() < self._cores else frozenset()

    def start(self, call: StageCall, place: Place) -> None:
        """Begins a stage now.

        Raises:
            LookupError: If the exhaustive run has no such stage.
        """
        record = self._find(call)
        begins_s = self.now_s
        if call.leases_device:
            assert all(running.call.leases_device for running in self._running), "nothing is beside a measurement"
            begins_s = max((running.ends_s for running in self._running), default=begins_s)
            self.measuring_s += record.seconds
        else:
            assert self._busy() < self._cores, "the scheduler starts no more than the cores can take"
            self.building_s += record.seconds
        self._running.append(_Running(call, record, begins_s + record.seconds))

    def wait(self, timeout_s: float) -> list[StageDone]:
        """Turns the clock to the end of the build that ends next, or of the last measurement in line."""
        if not self._running:
            return []
        if any(running.call.leases_device for running in self._running):
            ended = list(self._running)
        else:
            ended = [min(self._running, key=lambda running: running.ends_s)]
        self._running = [running for running in self._running if running not in ended]
        self.now_s = max(running.ends_s for running in ended)
        for running in ended:
            self._store.add(running.record)
        return [StageDone(running.call, running.record) for running in ended]

    def recall(self) -> list[StageCall]:
        """None: a replay is not stopped while stages wait."""
        return []

    def close(self) -> None:
        """Forgets what runs."""
        self._running.clear()

    @property
    def lower_bound_s(self) -> float:
        """What the replayed stages would take without any idle core."""
        return self.building_s / self._cores + self.measuring_s

    @property
    def idle_core_s(self) -> float:
        """Core seconds in which nothing ran."""
        return (self.now_s - self.lower_bound_s) * self._cores

    def _busy(self) -> int:
        """Cores that are taken; a measurement takes all of them."""
        return sum(self._cores if running.call.leases_device else 1 for running in self._running)

    def _find(self, call: StageCall) -> StageRecord:
        """The recorded stage; where this timing was not taken again then, an earlier attempt stands for it."""
        for attempt in range(_ATTEMPTS if call.leases_device else 1):
            tried = replace(call, params=dict(call.params) | {"attempt": attempt}) if attempt else call
            if (record := self._recorded.find(tried.stage, tried.key)) is not None:
                return replace(record, key=call.key)
        raise LookupError(f"The exhaustive run must hold every stage, but it has no {call.stage} {dict(call.params)}.")
