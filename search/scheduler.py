"""Carries out many plans side by side: each stage runs once, and a measurement has its device alone.

Where the device is a machine that also builds, training and measuring take turns there in batches: while stages can be
built its cores build, and the measurements that have become ready are taken together once enough of them wait, or
nothing is left to build. Before they begin, the builds that still run must end; until the longest of them does, builds
that will end before it fill the other cores. Machines other than the device's build all the time.

A batch is given to the workers as a whole, and heard of as a whole: keeping a cell and choosing the next one take a
core too, and would run beside a measurement. They come when the turn is over, beside the builds that follow it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from litefront.search.cell_record import CellRecord
from litefront.search.ledger import Ledger
from litefront.search.stage_calls import StageCall
from litefront.search.stage_queue import MeanSeconds, Plan, StageQueue, WantedStage
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_results import StageEntry
from litefront.search.workers import Place, Workers
from litefront.spaces.errors import CandidateError, LitefrontError

__all__ = ["Plan", "Scheduler"]

_log = logging.getLogger(__name__)
_WAIT_S = 0.5
_MAX_LOSSES = 3


class Scheduler:
    """Runs plans to their ends.

    Args:
        workers: Run the stages.
        store: Where their results are found again, and where runs that share it claim stages.
        ledger: Told of every stage that was run or reused.
        shares_cores: Whether measurements take the cores that build, on the device's machine.
        batch: Gives the number of measurements that are taken together, where they share the cores; it may be replaced
            when more is known.
        on_stage: Called with each stage as it starts.
        clock_s: Tells the time on which stages take as long as they do.
    """

    def __init__(
        self,
        workers: Workers,
        store: ArtifactStore,
        ledger: Ledger,
        *,
        shares_cores: bool,
        batch: Callable[[], int] = lambda: 1,
        on_stage: Callable[[StageCall], None] = lambda _call: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._store = store
        self._ledger = ledger
        self._shares_cores = shares_cores
        self.batch = batch
        self._on_stage = on_stage
        self._clock_s = clock_s
        self._wanted: dict[str, WantedStage] = {}
        self._queue: StageQueue = StageQueue()
        self._running: dict[str, WantedStage] = {}
        self._parked: list[WantedStage] = []
        self._look_at_parked_at = 0.0
        self._failed: dict[str, LitefrontError] = {}
        self._finished: list[tuple[Plan, CellRecord]] = []
        self._seconds = MeanSeconds()
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
        self._failed.pop(call.key, None)
        self._want(call)
        while call.key in self._wanted:
            self._start_what_may()
            if call.key in self._wanted:
                self._collect()
        if (error := self._failed.get(call.key)) is not None:
            raise error
        record = self._store.find(call.stage, call.key)
        assert record is not None, "a stage that did not fail left its record"
        return record

    def finished(self, goes_on: Callable[[], bool] = lambda: True) -> Iterator[tuple[Plan, CellRecord]]:
        """The plans that have ended since the last call, with their records; none while the cores measure.

        Waits a moment for one if none has.

        Args:
            goes_on: Whether further stages may still start once some have ended.

        Raises:
            LitefrontError: What no cell can be blamed for: input errors, a store that cannot be written, and workers
                that are gone.
        """
        self._start_what_may()
        if not self._finished or self._cores_measure():
            self._collect()
            if goes_on():
                # Before the caller thinks about what it hears: cores would idle meanwhile.
                self._start_what_may()
        if not self._cores_measure():
            finished, self._finished = self._finished, []
            yield from finished

    def drop_what_waits(self) -> list[Plan]:
        """Gives up every plan that waits for a stage that does not run yet; gives back those plans."""
        recalled = [self._take(call) for call in self._workers.recall()]
        dropped = [*recalled, *self._queue.clear(), *self._parked]
        self._parked.clear()
        for wanted in dropped:
            del self._wanted[wanted.call.key]
        return [plan for wanted in dropped for plan in wanted.plans]

    def expected_s(self, stage: str) -> float | None:
        """How long a stage of this name takes, in seconds: the mean of those that ran; None if none has."""
        return self._seconds.expected(stage)

    def close(self) -> None:
        """Lets other runs at the stages that this one was at, and ends the ledger."""
        for wanted in self._running.values():
            _release(wanted)
        self._running.clear()
        self._ledger.close()

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
            self._note_hit(record)
        return record

    def _note_hit(self, record: StageRecord) -> None:
        self._ledger.note(StageEntry(record.stage, record.key, "hit", record.seconds))

    def _want(self, call: StageCall, plan: Plan | None = None) -> None:
        """Puts a stage in line, or joins the plans that wait for it already."""
        wanted = self._wanted.get(call.key)
        if wanted is None:
            wanted = self._wanted[call.key] = WantedStage(call)
            self._queue.append(wanted)
        if plan is not None:
            wanted.plans.append(plan)

    def _start_what_may(self) -> None:
        self._look_at_parked()
        self._device_turn = self._shares_cores and self._is_device_turn()
        while (choice := self._next_start()) is not None:
            wanted, place = choice
            self._queue.take(wanted)
            self._start(wanted, place)

    def _is_device_turn(self) -> bool:
        """The device's turn begins with a full batch, or when nothing can be built, and ends with none waiting."""
        waiting = self._queue.measurements
        builds = self._queue.builds or any(not wanted.call.leases_device for wanted in self._running.values())
        return waiting > 0 and (self._device_turn or waiting >= self.batch() or not builds)

    def _next_start(self) -> tuple[WantedStage, Place] | None:
        """The stage that may start now and came first, with its place."""
        for wanted in self._queue.heads():
            try:
                place = self._place_for(wanted.call)
            except CandidateError as error:
                self._queue.take(wanted)
                self._settle(StageDone(wanted.call, error=error), wanted)
                continue
            if place is not None:
                return wanted, place
        return None

    def _place_for(self, call: StageCall) -> Place | None:
        places = self._workers.places(call)
        if Place.ELSEWHERE in places:
            return Place.ELSEWHERE
        may_start = self._may_measure() if call.leases_device else self._may_build_beside_device(call)
        return Place.DEVICE if Place.DEVICE in places and may_start else None

    def _may_measure(self) -> bool:
        if not self._shares_cores:
            return not self._measures_now()
        at_device = self._at_device()
        # A long turn comes in several batches, and what has ended is told in between.
        room = len(at_device) + len(self._finished) < self.batch()
        return self._device_turn and room and all(wanted.call.leases_device for wanted in at_device)

    def _may_build_beside_device(self, call: StageCall) -> bool:
        if not self._shares_cores:
            return True
        return not self._measures_now() and (not self._device_turn or self._ends_before_the_longest(call))

    def _ends_before_the_longest(self, call: StageCall) -> bool:
        """Whether a build will end before those that the device's turn waits for anyway."""
        expected = self._seconds.expected(call.stage)
        remaining = max((self._remaining_s(wanted) for wanted in self._at_device()), default=0.0)
        return expected is not None and expected <= remaining

    def _remaining_s(self, wanted: WantedStage) -> float:
        """How long a stage that runs will take yet; 0 if that is not known."""
        return (self._seconds.expected(wanted.call.stage) or 0.0) - (self._clock_s() - wanted.started)

    def _at_device(self) -> list[WantedStage]:
        return [wanted for wanted in self._running.values() if wanted.place is Place.DEVICE]

    def _cores_measure(self) -> bool:
        """Whether nothing may run on the device's machine now, this process's own thinking included."""
        return self._shares_cores and self._measures_now()

    def _measures_now(self) -> bool:
        return any(wanted.call.leases_device for wanted in self._running.values())

    def _start(self, wanted: WantedStage, place: Place) -> None:
        """Starts a stage, unless another run that shares the store is at it or has just left its result."""
        call = wanted.call
        wanted.claim = self._store.claim(call.stage, call.key)
        if wanted.claim is None:
            self._parked.append(wanted)
        elif not self._settle_reused(wanted):
            wanted.place, wanted.started = place, self._clock_s()
            self._running[call.key] = wanted
            self._on_stage(call)
            self._workers.start(call, place)

    def _look_at_parked(self) -> None:
        """Goes on with the stages that another run was at: with what it left, or in its place if it died."""
        if not self._parked or time.monotonic() < self._look_at_parked_at:
            return
        self._look_at_parked_at = time.monotonic() + _WAIT_S
        parked, self._parked = self._parked, []
        for wanted in parked:
            wanted.claim = self._store.claim(wanted.call.stage, wanted.call.key)
            if wanted.claim is None:
                self._parked.append(wanted)
            elif not self._settle_reused(wanted):
                _release(wanted)
                self._queue.put_first(wanted)

    def _settle_reused(self, wanted: WantedStage) -> bool:
        record = self._store.find(wanted.call.stage, wanted.call.key)
        if record is None:
            return False
        _release(wanted)
        del self._wanted[wanted.call.key]
        for plan in wanted.plans:
            self._note_hit(record)
            self._advance(plan, record)
        return True

    def _collect(self) -> None:
        ended = [(done, self._take(done.call)) for done in self._workers.wait(_WAIT_S)]
        for done, wanted in ended:
            if done.lost:
                self._run_again(done, wanted)
            else:
                self._settle(done, wanted)

    def _take(self, call: StageCall) -> WantedStage:
        """A stage that does not run any more."""
        wanted = self._running.pop(call.key)
        wanted.place = None
        _release(wanted)
        return wanted

    def _run_again(self, done: StageDone, wanted: WantedStage) -> None:
        """A lost stage is nobody's fault; but one that takes machine after machine with it must end."""
        wanted.losses += done.began
        if wanted.losses > _MAX_LOSSES:
            reason = f"{wanted.call.stage}: it was lost {wanted.losses} times, the last time because {done.lost}"
            self._settle(StageDone(wanted.call, error=CandidateError(reason)), wanted)
            return
        if done.began:
            _log.warning("%s runs again: %s.", wanted.call.stage, done.lost)
        self._queue.put_first(wanted)

    def _settle(self, done: StageDone, wanted: WantedStage) -> None:
        call = done.call
        del self._wanted[call.key]
        if done.record is not None:
            self._seconds.note(call.stage, done.record.seconds)
            self._ledger.note(StageEntry(call.stage, call.key, "run", done.record.seconds))
            for number, plan in enumerate(wanted.plans):
                if number:
                    self._note_hit(done.record)
                self._advance(plan, done.record)
            return
        assert done.error is not None, "a stage ends with a record, an error or a loss"
        _log.info("%s %s failed: %s\n%s", call.stage, dict(call.params), done.error, done.details)
        self._ledger.note(StageEntry(call.stage, call.key, "failed", 0.0))
        self._failed[call.key] = done.error
        if not isinstance(done.error, CandidateError):
            if wanted.plans:
                raise done.error
            return
        for plan in wanted.plans:
            self._advance(plan, None, done.error)


def _release(wanted: WantedStage) -> None:
    if wanted.claim is not None:
        wanted.claim.release()
        wanted.claim = None
