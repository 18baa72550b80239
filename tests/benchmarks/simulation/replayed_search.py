"""Whole searches over an exhaustive run's recorded stages, in virtual time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from litefront.objectives.devices import DeviceFacts
from litefront.search.cell_record import CellRecord
from litefront.search.store import ArtifactStore
from litefront.search.study_file import StudyFile
from litefront.search.study_results import StudyResults
from litefront.search.study_spec import Budget
from litefront.search.task_loading import LoadedTask, load_task
from litefront.spaces.deployment_config import DeploymentConfig
from simulation.replay_workers import ReplayStore, ReplayWorkers
from simulation.simulated_search import Guide, Listener, SimulatedDevice, search

__all__ = ["Found", "Replay", "ReplayedSearch"]

Found = list[tuple[float, DeploymentConfig]]
"""When each cell was finished, seconds, in that order."""


@dataclass(frozen=True)
class ReplayedSearch:
    """How a search went in virtual time.

    Attributes:
        found: What it found.
        seconds: How long it took.
        lower_bound_s: What its stages would take without an idle core.
        idle_core_s: Core seconds in which nothing ran.
    """

    found: Found
    seconds: float
    lower_bound_s: float
    idle_core_s: float


class Replay:
    """Searches the cells of an exhaustive run again.

    Args:
        exhaustive: The run; every stage of its study is in its store.
        study: The study that it ran.
        cores: Cores of the virtual machine.
    """

    def __init__(self, exhaustive: StudyResults, study: StudyFile, cores: int) -> None:
        self._exhaustive = exhaustive
        self._recorded = ArtifactStore(exhaustive.directory.store)
        self._loaded: LoadedTask = load_task(study)
        self._device = SimulatedDevice(_device_facts(exhaustive))
        self._cores = cores

    def search(
        self,
        *,
        cells: int | None,
        seed: int,
        guided_by: Guide = Guide.PROMISES_AND_COSTS,
        until: Callable[[Found], bool] = lambda _found: False,
    ) -> ReplayedSearch:
        """Runs one search.

        Args:
            cells: Its budget; None for all of the space.
            seed: The sampler's; the base model stays the recorded one.
            guided_by: What decides which proposal goes first.
            until: Asked after each cell whether what was found so far is enough.
        """
        built_as = self._exhaustive.spec
        searched_as = built_as.model_copy(update={"budget": Budget(cells=cells, min_gain=0, remeasure=0), "seed": seed})
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            store = ReplayStore(folder / "store")
            workers = ReplayWorkers(self._recorded, store, self._cores)
            listener = _VirtualTimes(workers, until)
            search(
                built_as,
                searched_as,
                self._loaded,
                folder,
                device=self._device,
                store=store,
                workers=workers,
                listener=listener,
                stop=lambda: listener.is_enough,
                clock_s=lambda: workers.now_s,
                guided_by=guided_by,
            )
        return ReplayedSearch(listener.found, workers.now_s, workers.lower_bound_s, workers.idle_core_s)


class _VirtualTimes(Listener):
    """Notes when each cell was finished.

    Args:
        workers: Have the clock.
        until: Asked after each cell whether it is enough.
    """

    def __init__(self, workers: ReplayWorkers, until: Callable[[Found], bool]) -> None:
        super().__init__()
        self._workers = workers
        self._until = until
        self.found: Found = []
        self.is_enough = False

    def cell_finished(self, record: CellRecord) -> None:
        """Notes the virtual time of a cell's first end."""
        if all(record.config != config for _, config in self.found):
            self.found.append((self._workers.now_s, record.config))
            self.is_enough = self.is_enough or self._until(self.found)


def _device_facts(exhaustive: StudyResults) -> DeviceFacts:
    return DeviceFacts(**exhaustive.context.device)
