"""Chooses the next cell: an Optuna study that is asked and told, and that never makes the machine repeat a cell."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.study_spec import SamplerName, StudySpec
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.errors import InputError
from litefront.spaces.search_space import DIMENSIONS, SearchSpace, canonical, refusal

__all__ = ["CellSampler", "Proposal", "open_journal", "open_journal_to_read", "quiet_optuna"]

_log = logging.getLogger(__name__)

_MAX_REPEATS = 8
_VIOLATION = "violation"
_POPULATION_SIZE = 16


@dataclass(frozen=True)
class Proposal:
    """A cell to build next.

    Attributes:
        config: The cell's canonical configuration.
        trial: The Optuna trial that asked for it; None for a baseline outside the space.
    """

    config: DeploymentConfig
    trial: Trial | None


class CellSampler:
    """Proposes cells that are not yet known, and learns from those that are.

    Every trial that is asked is told, on every path: measured cells as COMPLETE, rejected ones as PRUNED with their
    violation as a constraint, failed ones as FAIL. A repeat is told at once with what is known of its cell; after some
    repeats in a row, an unknown cell next to the front is taken instead. A space that the budget covers is finished
    cell by cell, without a sampler.

    Args:
        spec: Gives sampler, objectives and seed.
        storage: Where the study is kept.
        name: The study's name there.
        capabilities: What can work.
        known: What earlier runs found, in their order.
        baseline: The configuration that is always proposed first.
    """

    def __init__(
        self,
        spec: StudySpec,
        storage: optuna.storages.BaseStorage,
        name: str,
        *,
        capabilities: Capabilities,
        known: Iterable[CellRecord],
        baseline: DeploymentConfig,
    ) -> None:
        self._spec = spec
        self._objectives = spec.chosen_objectives()
        self._space = spec.space.search_space()
        self._capabilities = capabilities
        self._baseline = baseline
        self._cells = self._space.cells(capabilities)
        # Parameters within the space that make each cell; Optuna refuses what lies outside.
        self._params = {canonical(config): config.params() for config in self._space.configurations()}
        self._distributions = _distributions(self._space)
        self._known: dict[DeploymentConfig, CellRecord] = {}
        self._open: dict[DeploymentConfig, list[Trial]] = {}
        self._study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[objective.direction.value for objective in self._objectives],
            load_if_exists=True,
        )
        # For the dashboard, which would show numbers in their place.
        self._study.set_metric_names([objective.figure for objective in self._objectives])
        self._close_orphans()
        self._take_over(known)
        trials = len(self._study.get_trials(deepcopy=False))
        # A resumed study goes on with other random numbers than it began with.
        self._study.sampler = _make_sampler(spec, spec.seed + trials)
        self._random = random.Random(spec.seed + trials)

    @property
    def cells(self) -> list[DeploymentConfig]:
        """Every cell of the space."""
        return list(self._cells)

    def propose(self) -> Proposal | None:
        """The next cell to build; None if all are known or under way."""
        if self._baseline not in self._known and self._baseline not in self._open:
            return self._claim(self._baseline)
        unknown = [cell for cell in self._cells if cell not in self._known and cell not in self._open]
        if not unknown:
            return None
        if self._is_exhaustive():
            return self._claim(unknown[0])
        for _ in range(_MAX_REPEATS):
            trial = self._study.ask(self._distributions)
            config = DeploymentConfig.from_params(trial.params)
            reason = refusal(config, self._capabilities)
            cell = canonical(config)
            if reason is not None:
                trial.set_constraint(_VIOLATION, 1.0)
                trial.set_user_attr("reason", reason)
                self._study.tell(trial, state=TrialState.PRUNED)
            elif cell in self._known:
                self._tell_one(trial, self._known[cell])
            elif cell in self._open:
                # Told together with the trial that is building this cell.
                self._open[cell].append(trial)
            else:
                self._open[cell] = [trial]
                return Proposal(cell, trial)
        return self._claim(self._near_the_front(unknown))

    def tell(self, proposal: Proposal, record: CellRecord) -> None:
        """Learns what became of a proposal."""
        for trial in self._open.pop(proposal.config, []):
            self._tell_one(trial, record)
        self._known[proposal.config] = record

    def abandon(self) -> None:
        """Tells every open trial that it came to nothing: the run stops."""
        for trials in self._open.values():
            for trial in trials:
                trial.set_user_attr("reason", "the run was stopped")
                self._study.tell(trial, state=TrialState.FAIL)
        self._open.clear()

    def _is_exhaustive(self) -> bool:
        cells = self._spec.budget.cells
        return self._spec.sampler is SamplerName.EXHAUSTIVE or cells is None or cells >= len(self._cells)

    def _claim(self, cell: DeploymentConfig) -> Proposal:
        """Makes a trial of a cell that the sampler did not ask for itself."""
        self._open[cell] = []
        params = self._params.get(cell)
        if params is None:
            return Proposal(cell, None)
        self._study.enqueue_trial(params)
        trial = self._study.ask(self._distributions)
        self._open[cell].append(trial)
        return Proposal(cell, trial)

    def _near_the_front(self, unknown: Sequence[DeploymentConfig]) -> DeploymentConfig:
        """An unknown cell that differs from a front member in as few parameters as any."""
        from litefront.search.front import pareto_front

        measured = [record for record in self._known.values() if record.state is CellState.MEASURED]
        front = [record.config for record in pareto_front(measured, self._objectives)]
        distances = {cell: min((_distance(cell, member) for member in front), default=0) for cell in unknown}
        nearest = min(distances.values())
        return self._random.choice([cell for cell, distance in distances.items() if distance == nearest])

    def _tell_one(self, trial: Trial, record: CellRecord) -> None:
        for name, value in _attributes(record).items():
            trial.set_user_attr(name, value)
        if record.state is CellState.FAILED:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint(_VIOLATION, record.violation)
        if record.state is CellState.REJECTED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, self._values(record))

    def _values(self, record: CellRecord) -> list[float]:
        return [record.value(objective.figure) for objective in self._objectives]

    def _close_orphans(self) -> None:
        """Trials that a killed run left open would count as running for ever."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
        for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.tell(self._study.ask(self._distributions), state=TrialState.FAIL)

    def _take_over(self, known: Iterable[CellRecord]) -> None:
        """Takes over the finished cells; those that the study has not heard of are added to it."""
        told = {trial.user_attrs.get("cell") for trial in self._study.get_trials(deepcopy=False) if _is_told(trial)}
        for record in known:
            if record.state is CellState.FAILED:
                continue  # tried again
            self._known[record.config] = record
            params = self._params.get(record.config)
            if record.cell not in told and params is not None:
                self._study.add_trial(self._as_trial(record, params))

    def _as_trial(self, record: CellRecord, params: Mapping[str, Any]) -> FrozenTrial:
        measured = record.state is CellState.MEASURED
        return create_trial(
            state=TrialState.COMPLETE if measured else TrialState.PRUNED,
            params=dict(params),
            distributions=dict(self._distributions),
            values=self._values(record) if measured else None,
            user_attrs=_attributes(record),
            constraints={_VIOLATION: record.violation},
        )


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna's own log and its warnings about experimental parts off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def open_journal(path: Path) -> JournalStorage:
    """Opens the journal in a run directory that this process has locked.

    A lock that a killed run left behind is removed. Optuna reads a journal up to its first damaged line and then for
    ever fails, so a journal that has one is put aside and begun anew: the cells' own records fill it again.
    """
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists() and not _is_whole_journal(path):
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        _log.warning("%s is damaged; it is kept as %s and made again.", path.name, aside.name)
    return JournalStorage(JournalFileBackend(str(path)))


def _is_whole_journal(path: Path) -> bool:
    content = path.read_bytes()
    try:
        for line in content.splitlines():
            json.loads(line)
    except ValueError:
        return False
    return not content or content.endswith(b"\n")


def open_journal_to_read(path: Path) -> JournalStorage:
    """Opens the journal of a run that may be under way.

    Raises:
        InputError: If there is none.
    """
    if not path.exists():
        raise InputError(f"There must be a journal to show, but there is none at {path}.")
    return JournalStorage(JournalFileBackend(str(path)))


def _make_sampler(spec: StudySpec, seed: int) -> optuna.samplers.BaseSampler:
    match spec.sampler:
        case SamplerName.NSGA2:
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_POPULATION_SIZE)
        case SamplerName.NSGA3:
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=_POPULATION_SIZE)
        case SamplerName.RANDOM | SamplerName.EXHAUSTIVE:
            return optuna.samplers.RandomSampler(seed=seed)
        case SamplerName.TPE:
            return optuna.samplers.TPESampler(seed=seed)


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {
        name: CategoricalDistribution([getattr(choice, "value", choice) for choice in space.choices[name]])
        for name in DIMENSIONS
    }


def _distance(one: DeploymentConfig, other: DeploymentConfig) -> int:
    return sum(getattr(one, name) != getattr(other, name) for name in DIMENSIONS)


def _is_told(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _attributes(record: CellRecord) -> dict[str, Any]:
    attributes: dict[str, Any] = {"cell": record.cell}
    if record.reason is not None:
        attributes["reason"] = record.reason
    return attributes
