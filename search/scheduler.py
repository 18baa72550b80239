"""Carries out many plans side by side: each stage runs once, and a measurement has its device alone.

Where the device is the machine itself, training and measuring take turns in batches: while stages can be built the
cores build, and the measurements that have become ready are taken together once enough of them wait, or nothing is
left to build. No stage starts while a measurement waits for the cores to fall idle, so none starves.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from litefront.search.cell_record import CellRecord
from litefront.search.ledger import Ledger
from litefront.search.stage_calls import StageCall
from litefront.search.stage_functions import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_results import StageEntry
from litefront.search.workers import Workers
from litefront.spaces.errors import CandidateError, LitefrontError

__all__ = ["Plan", "Scheduler"]

_log = logging.getLogger(__name__)
_WAIT_S = 0.5


Plan = Generator[StageCall, StageRecord, CellRecord]
"""Yields stages, is sent their records, and returns the cell's record; a CandidateError may be thrown into it."""


@dataclass
class _Task:
    """A stage that is wanted, and the plans that wait for it."""

    call: StageCall
    plans: list[Plan] = field(default_factory=list)


class Scheduler:
    """Runs plans to their ends.

    Args:
        workers: Run the stages.
        store: Where their results are found again.
        ledger: Told of every stage that was run or reused.
        shares_cores: Whether measurements take the cores that build.
        batch: Measurements that are taken together, where they share the cores.
        on_stage: Called with each stage as it starts.
    """

    def __init__(
        self,
        workers: Workers,
        store: ArtifactStore,
        ledger: Ledger,
        *,
        shares_cores: bool,
        batch: int,
        on_stage: Callable[[StageCall], None] = lambda _call: None,
    ) -> None:
        self._workers = workers
        self._store = store
        self._ledger = ledger
        self._shares_cores = shares_cores
        self._batch = batch
        self._on_stage = on_stage
        self._building: deque[_Task] = deque()
        self._measuring: deque[_Task] = deque()
        self._running: dict[str, _Task] = {}
        self._failed: dict[str, LitefrontError] = {}
        self._finished: deque[tuple[Plan, CellRecord]] = deque()
        self._device_turn = False

    def add(self, plan: Plan) -> None:
        """Begins a plan."""
        self._advance(plan, None)

    def run_stage(self, call: StageCall) -> StageRecord:
        """Runs one stage outside a plan and waits for it; nothing else may be under way.

        Raises:
            LitefrontError: If it fails.
        """
        if (record := self._reused(call)) is not None:
            return record
        self._start(_Task(call))
        while call.key in self._running:
            self._collect()
        if (error := self._failed.get(call.key)) is not None:
            raise error
        record = self._store.find(call.stage, call.key)
        assert record is not None, "a stage that did not fail left its record"
        return record

    def finished(self) -> Iterator[tuple[Plan, CellRecord]]:
        """The plans that have ended since the last call, with their records.

        Waits a moment for one if none has.

        Raises:
            LitefrontError: What no cell can be blamed for: input errors, and a store that cannot be written.
        """
        self._start_what_may()
        if not self._finished:
            self._collect()
        while self._finished:
            yield self._finished.popleft()

    def drop_what_waits(self) -> list[Plan]:
        """Gives up every plan that waits for a stage that does not run yet; gives back those plans."""
        dropped = [plan for task in (*self._building, *self._measuring) for plan in task.plans]
        self._building.clear()
        self._measuring.clear()
        return dropped

    def _advance(self, plan: Plan, record: StageRecord | None, error: CandidateError | None = None) -> None:
        """Moves a plan on until it needs a stage that is not there, or ends."""
        try:
            while True:
                if error is not None:
                    call = plan.throw(error)
                else:
                    call = next(plan) if record is None else plan.send(record)
                error = self._failure(call)
                record = None if error else self._reused(call)
                if record is None and error is None:
                    self._want(call, plan)
                    return
        except StopIteration as end:
            self._finished.append((plan, end.value))

    def _failure(self, call: StageCall) -> CandidateError | None:
        known = self._failed.get(call.key)
        return known if isinstance(known, CandidateError) else None

    def _reused(self, call: StageCall) -> StageRecord | None:
        record = self._store.find(call.stage, call.key)
        if record is not None:
            self._ledger.note(StageEntry(call.stage, call.key, "hit", record.seconds))
        return record

    def _want(self, call: StageCall, plan: Plan) -> None:
        """Puts a stage in line, or joins the plans that wait for it already."""
        for task in (*self._running.values(), *self._building, *self._measuring):
            if task.call.key == call.key:
                task.plans.append(plan)
                return
        (self._measuring if call.leases_device else self._building).append(_Task(call, [plan]))

    def _start_what_may(self) -> None:
        measures_now = any(task.call.leases_device for task in self._running.values())
        if self._shares_cores:
            self._device_turn = self._is_device_turn()
            if self._device_turn and self._measuring and not self._running:
                self._start(self._measuring.popleft())
            if self._device_turn or measures_now:
                return
        elif self._measuring and not measures_now:
            self._start(self._measuring.popleft())
        while self._building and len(self._running) < self._workers.slots:
            self._start(self._building.popleft())

    def _is_device_turn(self) -> bool:
        """The device's turn begins with a full batch, or when nothing can be built, and ends with none waiting."""
        if not self._measuring:
            return False
        builds = self._building or any(not task.call.leases_device for task in self._running.values())
        return self._device_turn or len(self._measuring) >= self._batch or not builds

    def _start(self, task: _Task) -> None:
        self._running[task.call.key] = task
        self._on_stage(task.call)
        self._workers.start(task.call)

    def _collect(self) -> None:
        for done in self._workers.wait(_WAIT_S):
            task = self._running.pop(done.call.key)
            self._settle(done, task)

    def _settle(self, done: StageDone, task: _Task) -> None:
        call = done.call
        if done.record is not None:
            self._ledger.note(StageEntry(call.stage, call.key, "run", done.record.seconds))
            for number, plan in enumerate(task.plans):
                if number:
                    self._ledger.note(StageEntry(call.stage, call.key, "hit", done.record.seconds))
                self._advance(plan, done.record)
            return
        assert done.error is not None, "a stage ends with a record or an error"
        _log.info("%s %s failed: %s\n%s", call.stage, dict(call.params), done.error, done.details)
        self._ledger.note(StageEntry(call.stage, call.key, "failed", 0.0))
        self._failed[call.key] = done.error
        if not isinstance(done.error, CandidateError):
            if task.plans:
                raise done.error
            return
        for plan in task.plans:
            self._advance(plan, None, done.error)
