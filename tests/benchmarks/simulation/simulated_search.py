"""Drives the real search - sampler, scheduler, plans, ledger, journal, cells - on workers that only pretend to work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from unittest import mock

from litefront.objectives.devices import Candidate, DeviceFacts
from litefront.objectives.power import HOST_POWER, PowerModel
from litefront.objectives.timing import Timing
from litefront.search import sampler, study_run
from litefront.search.cell_record import CellRecord
from litefront.search.ledger import Ledger
from litefront.search.run_directory import RunDirectory
from litefront.search.sampler import CellSampler, quiet_optuna
from litefront.search.scheduler import Scheduler
from litefront.search.stage_calls import StageCall
from litefront.search.store import ArtifactStore
from litefront.search.study_opening import open_study
from litefront.search.study_results import StudyContext
from litefront.search.study_spec import StudySpec
from litefront.search.task_loading import LoadedTask
from litefront.search.trial_storage import open_storage
from litefront.search.workers import Workers
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["Guide", "Listener", "SimulatedDevice", "search"]


@dataclass(frozen=True)
class SimulatedDevice:
    """A host that is never touched: its stages are answered by simulated workers.

    Attributes:
        facts: What it says of itself.
    """

    facts: DeviceFacts

    @property
    def power_model(self) -> PowerModel:
        """The host's."""
        return HOST_POWER

    @property
    def shares_cores(self) -> bool:
        """Like the host."""
        return True

    def probe(self) -> DeviceFacts:
        """The facts."""
        return self.facts

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Never called: no real stage runs."""
        raise NotImplementedError

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Never called: no real stage runs."""
        raise NotImplementedError


@dataclass
class Listener:
    """Takes what a search tells of itself; the base of those that look at it."""

    cells: list[CellRecord] = field(default_factory=list)

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None:
        """Nothing to note."""

    def stage_started(self, call: StageCall) -> None:
        """Nothing to note."""

    def cell_finished(self, record: CellRecord) -> None:
        """Notes the cell."""
        self.cells.append(record)

    def noted(self, text: str) -> None:
        """Nothing to note."""

    def stopped(self, signal_number: int) -> None:
        """A simulation is not stopped by signals."""


class Guide(StrEnum):
    """What decides which of the cells that the sampler proposes goes first."""

    SAMPLER = "the sampler alone"
    PROMISES = "promises, costs aside"
    PROMISES_AND_COSTS = "promises and costs"


def search(
    built_as: StudySpec,
    searched_as: StudySpec,
    loaded: LoadedTask,
    folder: Path,
    *,
    device: SimulatedDevice,
    store: ArtifactStore,
    workers: Workers,
    listener: Listener,
    stop: Callable[[], bool] = lambda: False,
    clock_s: Callable[[], float] = time.monotonic,
    guided_by: Guide = Guide.PROMISES_AND_COSTS,
) -> None:
    """Runs a whole search.

    Args:
        built_as: The study whose stages the workers know; its seed makes the base model.
        searched_as: The same with the budget, sampler and seed of the search.
        loaded: The study's task.
        folder: An empty folder for journal, ledger and cells.
        device: Stands for the device.
        store: Where the workers leave their records.
        workers: Answer the stages.
        listener: Is told of every cell.
        stop: Ends the search early once it says so.
        clock_s: The clock on which the workers take their time.
        guided_by: What decides which proposal goes first.
    """
    directory = RunDirectory(folder)
    directory.create()
    with quiet_optuna():
        scheduler = Scheduler(workers, store, Ledger(directory), shares_cores=True, clock_s=clock_s)
        opened = open_study(built_as, loaded, device, device.probe(), store=store, scheduler=scheduler, timing=Timing())
        opened = replace(opened, spec=searched_as)
        storage = open_storage(None, directory)
        with _guided(guided_by):
            study_run.search(opened, directory, store, storage, scheduler, workers, listener).run(stop)


@contextmanager
def _guided(by: Guide) -> Iterator[None]:
    with ExitStack() as patches:
        if by is not Guide.PROMISES_AND_COSTS:
            patches.enter_context(mock.patch.object(CellSampler, "prefer_cheap", _ignore))
        if by is Guide.SAMPLER:
            # Of one proposal there is nothing to choose.
            patches.enter_context(mock.patch.object(sampler, "_POOL_SIZE", 1))
        yield


def _ignore(_sampler: CellSampler, _cost_s: Callable[[DeploymentConfig], float]) -> None:
    """Leaves costs aside."""
