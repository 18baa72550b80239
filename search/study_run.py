"""Runs a study: opens what is there already, builds and measures cells until the budget is spent, keeps each one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from litefront.objectives.devices import Device
from litefront.objectives.latency import Timing
from litefront.search.cell_plan import CellPlans
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.digests import digest_of_json
from litefront.search.ledger import Ledger
from litefront.search.run_directory import RunDirectory, append_json_line
from litefront.search.sampler import CellSampler, Proposal, open_journal, quiet_optuna
from litefront.search.scheduler import Plan, Scheduler
from litefront.search.screening import Screening, worthwhile_screening
from litefront.search.stage_calls import StageCall
from litefront.search.stage_functions import Workplace, device_of_kind
from litefront.search.stop_signals import stop_signals
from litefront.search.store import ArtifactStore
from litefront.search.study_file import StudyFile
from litefront.search.study_opening import OpenStudy, open_study, write_study
from litefront.search.study_results import StudyContext, StudyResults, read_records
from litefront.search.task_loading import LoadedTask, load_task
from litefront.search.workers import SerialWorkers, Workers
from litefront.spaces.errors import InputError

__all__ = ["RunOptions", "RunProgress", "run_study"]

# For each core: measurements that are taken together where they share the cores, and cells that are under way, enough
# that a batch of measurements and the next builds are both there.
_BATCH = 4
_WIDTH = 6


class RunProgress(Protocol):
    """Told how a run goes; called from the run's own thread."""

    def opened(self, context: StudyContext, known: int, target: int) -> None:
        """The study is open: `known` cells of an intended `target` are there already."""
        ...

    def stage_started(self, call: StageCall) -> None:
        """A stage starts."""
        ...

    def cell_finished(self, record: CellRecord, records: Iterable[CellRecord]) -> None:
        """A cell is finished and kept; `records` are all of this study's."""
        ...

    def stopped(self, signal_number: int) -> None:
        """A signal ends the run; what runs is finished first."""
        ...


@dataclass(frozen=True)
class RunOptions:
    """How a study is run.

    Attributes:
        serial: Run every stage in this process, without Ray.
        cores: Cores to build on; all that this process may use by default.
        timing: How candidates are timed.
    """

    serial: bool = False
    cores: int | None = None
    timing: Timing = field(default_factory=Timing)


def run_study(
    study: StudyFile, directory: RunDirectory, progress: RunProgress, options: RunOptions | None = None
) -> StudyResults:
    """Runs a study, or goes on with one: the same call does both.

    Args:
        study: The study.
        directory: Where everything is kept.
        progress: Told how it goes.
        options: How to run it.

    Returns:
        What is known at the end. A Ctrl-C or SIGTERM ends it early, after the stages that run; a second one at once.

    Raises:
        InputError: If the study, its task, model or data, or the directory cannot be used.
        StoreError: If the disk does not take what was found; finished cells stay.
    """
    options = options or RunOptions()
    directory.create()
    with directory.lock(), quiet_optuna():
        loaded = load_task(study)
        device = device_of_kind(study.spec.devices[study.spec.device_name].kind)
        store = ArtifactStore(directory.store)
        store.remove_scratch()
        facts = device.probe()
        workers = _make_workers(study, loaded, store, options, device)
        try:
            with stop_signals(progress.stopped) as stop:
                scheduler = _make_scheduler(workers, store, directory, device, progress)
                opened = open_study(
                    study.spec, loaded, device, facts, store=store, scheduler=scheduler, timing=options.timing
                )
                write_study(opened, directory)
                width = _WIDTH * workers.slots
                _Search(opened, directory, store, scheduler, progress, width=width).run(stop)
        finally:
            workers.close()
    return StudyResults.read(directory)


def _make_workers(
    study: StudyFile, loaded: LoadedTask, store: ArtifactStore, options: RunOptions, device: Device
) -> Workers:
    if options.serial:
        return SerialWorkers(Workplace(store, loaded.task, device))
    from litefront.search.ray_workers import RayWorkers

    name = study.spec.device_name
    return RayWorkers(store.root, loaded.packed, name, study.spec.devices[name].kind, cores=options.cores)


def _make_scheduler(
    workers: Workers, store: ArtifactStore, directory: RunDirectory, device: Device, progress: RunProgress
) -> Scheduler:
    return Scheduler(
        workers,
        store,
        Ledger(directory),
        shares_cores=device.shares_cores,
        batch=_BATCH * workers.slots,
        on_stage=progress.stage_started,
    )


class _Search:
    """The search of an open study, from its baseline to its last cell.

    Args:
        study: The study.
        directory: Where its cells are kept.
        store: Where their stages' results are found again.
        scheduler: Carries the cells' plans out.
        progress: Told of each cell.
        width: Cells that are under way at once.
    """

    def __init__(
        self,
        study: OpenStudy,
        directory: RunDirectory,
        store: ArtifactStore,
        scheduler: Scheduler,
        progress: RunProgress,
        *,
        width: int,
    ) -> None:
        self._study = study
        self._directory = directory
        self._store = store
        self._scheduler = scheduler
        self._progress = progress
        self._width = width
        self._started = time.monotonic()
        self._records = read_records(directory, study.context.digest)
        self._sampler = self._make_sampler()
        self._cells = frozenset(self._sampler.cells)
        budget = study.spec.budget.cells
        self._target = len(self._cells) if budget is None else min(budget, len(self._cells))

    def run(self, stop: Callable[[], bool]) -> None:
        """Builds and measures cells until the budget is spent or `stop` says so.

        Raises:
            InputError: If the baseline cannot be built or run: without it no other figure can be judged.
        """
        self._progress.opened(self._study.context, self._settled(), self._target)
        try:
            self._loop(self._plans_after_baseline(), stop)
        finally:
            self._sampler.abandon()

    def _make_sampler(self) -> CellSampler:
        study, spec = self._study, self._study.spec
        # Optuna refuses to change the choices of a study, so a changed space is a study of its own in the journal.
        shape = digest_of_json([study.context.digest, spec.space.model_dump(mode="json"), spec.objectives])
        return CellSampler(
            spec,
            open_journal(self._directory.journal),
            f"{spec.study}-{shape[:12]}",
            capabilities=study.capabilities,
            known=self._records.values(),
            baseline=study.baseline,
        )

    def _plans_after_baseline(self) -> CellPlans:
        """Has the baseline measured before anything else, and gives the plans of all other cells."""
        plans = CellPlans(self._study)
        known = self._records.get(plans.cell_digest(self._study.baseline))
        if known is None or known.state is CellState.FAILED:
            known = self._measure_baseline(plans)
        if known.state is CellState.FAILED:
            raise InputError(f"The float model itself must be built and measured, but {known.reason}")
        return CellPlans(self._study, known.value("accuracy"), self._screening(known))

    def _screening(self, baseline: CellRecord) -> Screening | None:
        accuracy = self._store.find("accuracy", baseline.stages["accuracy"])
        if accuracy is None:
            return None  # the store was emptied; the cells are still judged by all rows
        return worthwhile_screening(self._study.calls, self._store, accuracy, self._study.reference)

    def _measure_baseline(self, plans: CellPlans) -> CellRecord:
        proposal = self._sampler.propose()
        assert proposal is not None, "the baseline comes first"
        self._scheduler.add(plans.plan(proposal.config))
        while True:
            for _, record in self._scheduler.finished():
                self._keep(record, proposal)
                return record

    def _loop(self, plans: CellPlans, stop: Callable[[], bool]) -> None:
        under_way: dict[Plan, Proposal] = {}
        while True:
            if stop():
                for plan in self._scheduler.drop_what_waits():
                    under_way.pop(plan, None)
            while not stop() and self._may_add(len(under_way)):
                proposal = self._sampler.propose()
                if proposal is None:
                    break
                plan = plans.plan(proposal.config)
                under_way[plan] = proposal
                self._scheduler.add(plan)
            if not under_way:
                return
            for plan, record in self._scheduler.finished():
                self._keep(record, under_way.pop(plan))

    def _may_add(self, under_way: int) -> bool:
        hours = self._study.spec.budget.hours
        in_time = hours is None or time.monotonic() - self._started < hours * 3600
        return in_time and under_way < self._width and self._settled() + under_way < self._target

    def _keep(self, record: CellRecord, proposal: Proposal) -> None:
        """The record goes to the disk first, then to the sampler: what is lost in between is told again."""
        line = {"context": self._study.context.digest, "record": record.to_json()}
        append_json_line(self._directory.cells, line)
        self._records[record.cell] = record
        self._sampler.tell(proposal, record)
        self._progress.cell_finished(record, self._records.values())

    def _settled(self) -> int:
        """Cells of the space that need no more work; a space that was narrowed leaves others behind."""
        return sum(
            record.config in self._cells and record.state is not CellState.FAILED for record in self._records.values()
        )
