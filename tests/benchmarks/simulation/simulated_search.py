"""Drives the real search - sampler, scheduler, plans, ledger, journal, cells - on workers that only pretend to work.

It is the one place that reaches into `litefront.search.study_run` for what `run_study` puts together itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from litefront.objectives.devices import DeviceFacts
from litefront.objectives.latency import Timing
from litefront.objectives.power import HOST_POWER, PowerModel
from litefront.search import study_run
from litefront.search.cell_record import CellRecord
from litefront.search.run_directory import RunDirectory
from litefront.search.sampler import CellSampler, quiet_optuna
from litefront.search.stage_calls import StageCall
from litefront.search.store import ArtifactStore
from litefront.search.study_opening import open_study
from litefront.search.study_results import StudyContext
from litefront.search.study_spec import StudySpec
from litefront.search.task_loading import LoadedTask
from litefront.search.workers import Workers
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["Listener", "SimulatedDevice", "search"]


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

    def infer(self, model: Path, inputs: Path, outputs: Path, config: DeploymentConfig) -> Mapping[str, Any]:
        """Never called: no real stage runs."""
        raise NotImplementedError

    def benchmark(self, model: Path, inputs: Path, config: DeploymentConfig, timing: Timing) -> Mapping[str, Any]:
        """Never called: no real stage runs."""
        raise NotImplementedError


@dataclass
class Listener:
    """Takes what a search tells of itself; the base of those that look at it."""

    cells: list[CellRecord] = field(default_factory=list)

    def opened(self, context: StudyContext, known: int, target: int) -> None:
        """Nothing to note."""

    def stage_started(self, call: StageCall) -> None:
        """Nothing to note."""

    def cell_finished(self, record: CellRecord, records: Iterable[CellRecord]) -> None:
        """Notes the cell."""
        self.cells.append(record)

    def stopped(self, signal_number: int) -> None:
        """A simulation is not stopped by signals."""


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
    cost_aware: bool = True,
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
        cost_aware: Whether the sampler is told what stages cost.
    """
    directory = RunDirectory(folder)
    directory.create()
    sampler = CellSampler if cost_aware else _sampler_without_costs
    with quiet_optuna(), mock.patch.object(study_run, "CellSampler", sampler):
        scheduler = study_run._make_scheduler(workers, store, directory, device, listener)
        opened = open_study(built_as, loaded, device, device.probe(), store=store, scheduler=scheduler, timing=Timing())
        opened = replace(opened, spec=searched_as)
        width = study_run._WIDTH * workers.slots
        study_run._Search(opened, directory, scheduler, listener, width=width).run(stop)


def _sampler_without_costs(*args: Any, **options: Any) -> CellSampler:
    return CellSampler(*args, **{name: value for name, value in options.items() if name != "cost_s"})
