"""Chooses the next cell: Optuna samplers that are asked and told, and that never make the machine repeat a cell."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from litefront.search.bounded_study import BoundedStudy
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.fixed_space_tpe import FixedSpaceTPESampler
from litefront.search.front import FrontArchive
from litefront.search.proposal_pool import ProposalPool
from litefront.search.study_spec import SamplerName, StudySpec
from litefront.search.surrogate import Surrogate
from litefront.search.trial_log import TrialLog
from litefront.search.trial_outcome import TrialOutcome
from litefront.search.unknown_cells import UnknownCells
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.search_space import DIMENSIONS, SearchSpace, canonical, refusal

__all__ = ["CellSampler", "Proposal", "quiet_optuna"]

# Proposals that are asked ahead where costs count, and how often one is passed over before it goes first.
_POOL_SIZE = 64
_PATIENCE = 256
# Front members, the latest, near which a cell is taken when a sampler repeats itself.
_NEAR_TO = 32
_POPULATION_SIZE = 16
# Finished trials that a sampler remembers.
_CAPACITY = 100


@dataclass(frozen=True)
class Proposal:
    """A cell to build next.

    Attributes:
        config: The cell's canonical configuration.
        trial: The Optuna trial that is under way for it; None for a baseline outside the space.
    """

    config: DeploymentConfig
    trial: Trial | None


@dataclass(frozen=True)
class _Asked:
    """A cell that was asked for, with the parameters that a trial of it has; None for a baseline outside the space."""

    config: DeploymentConfig
    params: Mapping[str, Any] | None


class CellSampler:
    """Proposes cells that are not yet known, and learns from those that are.

    What is proposed comes from a study in memory that stays small. It is asked ahead for more cells than are needed: of
    these, the one that promises most for its cost is proposed. Each proposal is a trial of the study that is the
    record, and every trial there is told, on every path: measured cells as COMPLETE, rejected ones as PRUNED with their
    violation as a constraint, failed ones as FAIL. A configuration that cannot work is PRUNED at once. A repeat teaches
    the sampler again what is known of its cell. In place of either an unknown cell next to the front is taken: a cell
    costs one ask, however much of the space is known. A space that the budget covers is finished cell by cell, without
    a sampler.

    Args:
        spec: Gives sampler, objectives and seed.
        storage: Where the study is kept.
        name: The study's name there.
        capabilities: What can work.
        known: What earlier runs found, in their order.
        baseline: The configuration that is always proposed first.
        owner: This run's mark where others share the storage; None if it is this run's alone.
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
        owner: str | None = None,
    ) -> None:
        self._spec = spec
        self._objectives = spec.chosen_objectives()
        self._space = spec.space.search_space()
        self._capabilities = capabilities
        self._baseline = baseline
        self._cells = self._space.cells(capabilities)
        self._unknown = UnknownCells(self._cells)
        # Parameters within the space that make each cell; Optuna refuses what lies outside.
        self._params = {canonical(config): config.params() for config in self._space.configurations()}
        self._known: dict[DeploymentConfig, TrialOutcome] = {}
        # Every cell that was asked for and not told yet, and of these the ones that are trials by now.
        self._asked: dict[DeploymentConfig, _Asked] = {}
        self._open: dict[DeploymentConfig, Proposal] = {}
        self._refused: set[DeploymentConfig] = set()
        self._front = FrontArchive(self._objectives)
        self._surrogate = Surrogate(spec)
        self._pool: ProposalPool[_Asked] | None = None
        self._ask_ahead(None)
        distributions = _distributions(self._space)
        metrics = {objective.figure: StudyDirection[objective.direction.name] for objective in self._objectives}
        self._log = TrialLog(storage, name, metrics, distributions, owner=owner)
        self._log.close_orphans()
        finished = self._log.finished()
        # A resumed study goes on with other random numbers than it began with, and so does each run that shares one.
        self._random = random.Random(f"{spec.seed} {len(finished)} {owner}")
        self._study = BoundedStudy(
            lambda: _make_sampler(spec.sampler, self._random.getrandbits(32), distributions),
            list(metrics.values()),
            distributions,
            capacity=_CAPACITY,
        )
        self._take_over(known, finished)

    @property
    def cells(self) -> list[DeploymentConfig]:
        """Every cell of the space."""
        return list(self._cells)

    @property
    def is_exhaustive(self) -> bool:
        """Whether the space is finished cell by cell: it was asked for, or the budget covers it."""
        cells = self._spec.budget.cells
        return self._spec.sampler is SamplerName.EXHAUSTIVE or cells is None or cells >= len(self._cells)

    def prefer_cheap(self, cost_s: Callable[[DeploymentConfig], float]) -> None:
        """From now on, what a proposal promises is weighed against its cost.

        Args:
            cost_s: What a cell would cost now, in seconds, given all that is there or under way.
        """
        self._ask_ahead(cost_s)

    @property
    def remembered(self) -> int:
        """Trials that the sampler goes through when it is asked; bounded, however long the search."""
        return self._study.size

    def propose(self) -> Proposal | None:
        """The next cell to build; None if all are known or under way."""
        if self._baseline not in self._known and self._baseline not in self._open:
            return self._begin(self._claim(self._baseline))
        if self._pool is None:
            asked = self._next()
        else:
            while not self._pool.is_full and (asked := self._next()) is not None:
                self._pool.add(asked)
            asked = self._pool.take()
        return None if asked is None else self._begin(asked)

    def tell(self, proposal: Proposal, record: CellRecord) -> None:
        """Learns what became of a proposal."""
        outcome = TrialOutcome.of_record(record, self._objectives)
        self._open.pop(proposal.config, None)
        self._asked.pop(proposal.config, None)
        self._learn(record, outcome)
        if proposal.trial is not None:
            self._log.tell(proposal.trial, outcome)
            if not self.is_exhaustive:
                self._study.tell(proposal.trial.params, outcome)

    def correct(self, record: CellRecord) -> None:
        """Learns that a cell is known better than it was told; a finished trial stays, so it is told by another."""
        outcome = TrialOutcome.of_record(record, self._objectives)
        self._front.discard(record.cell)
        self._learn(record, outcome)
        params = self._params.get(record.config)
        if params is not None:
            self._log.add(params, outcome)
            if not self.is_exhaustive:
                self._study.tell(params, outcome)

    def abandon(self) -> None:
        """Tells every open trial that it came to nothing: the run ends."""
        for proposal in self._open.values():
            if proposal.trial is not None:
                self._log.tell(proposal.trial, TrialOutcome(TrialState.FAIL, reason="the run ended first"))
                self._study.drop(proposal.trial.params)
        self._open.clear()

    def _ask_ahead(self, cost_s: Callable[[DeploymentConfig], float] | None) -> None:
        # Who asks for random cells is to have them.
        if not self.is_exhaustive and self._spec.sampler is not SamplerName.RANDOM:
            self._pool = ProposalPool(self._promises, cost_s, size=_POOL_SIZE, patience=_PATIENCE)

    def _promises(self, candidates: Sequence[DeploymentConfig]) -> NDArray[np.float64] | None:
        return self._surrogate.promises(candidates, list(self._open), self._front.losses)

    def _next(self) -> _Asked | None:
        """A cell that nothing is known of, and that was not asked for yet; None if there is none."""
        if not self._unknown:
            return None
        if self.is_exhaustive:
            return self._claim(self._unknown.first())
        params = self._study.ask()
        config = DeploymentConfig.from_params(params)
        cell = canonical(config)
        reason = refusal(config, self._capabilities)
        if reason is not None:
            self._refuse(config, params, reason)
        elif cell in self._known:
            self._study.tell(params, self._known[cell])
        elif cell in self._asked:
            self._forgo(cell, params)
        else:
            return self._ask_for(cell, params)
        return self._claim(self._instead())

    def _instead(self) -> DeploymentConfig:
        """An unknown cell next to the front; any, with equal chances, where random cells were asked for."""
        is_random = self._spec.sampler is SamplerName.RANDOM
        latest = [] if is_random else [member.config for member in self._front.members[-_NEAR_TO:]]
        return self._random.choice(self._unknown.nearest_to(latest))

    def _refuse(self, config: DeploymentConfig, params: Mapping[str, Any], reason: str) -> None:
        """A configuration that cannot work is a trial once, however often it is asked for."""
        outcome = TrialOutcome(TrialState.PRUNED, violation=1.0, reason=reason)
        self._study.tell(params, outcome)
        if config not in self._refused:
            self._refused.add(config)
            self._log.add(params, outcome)

    def _forgo(self, cell: DeploymentConfig, params: Mapping[str, Any]) -> None:
        """Another configuration of a cell that was asked for teaches nothing; the same one stays asked for."""
        if self._asked[cell].params != params:
            self._study.drop(params)

    def _claim(self, cell: DeploymentConfig) -> _Asked:
        """Has a cell count as asked for that the sampler did not ask for itself."""
        params = self._params.get(cell)
        if params is not None and not self.is_exhaustive:
            self._study.start(params)
        return self._ask_for(cell, params)

    def _ask_for(self, cell: DeploymentConfig, params: Mapping[str, Any] | None) -> _Asked:
        self._unknown.discard(cell)
        self._asked[cell] = _Asked(cell, params)
        return self._asked[cell]

    def _begin(self, asked: _Asked) -> Proposal:
        """Makes a trial of a cell whose turn has come."""
        trial = None if asked.params is None else self._log.start(asked.params)
        self._open[asked.config] = Proposal(asked.config, trial)
        return self._open[asked.config]

    def _learn(self, record: CellRecord, outcome: TrialOutcome) -> None:
        self._known[record.config] = outcome
        self._unknown.discard(record.config)
        self._surrogate.add(record)
        if record.state is CellState.MEASURED:
            self._front.add(record)

    def _take_over(self, known: Iterable[CellRecord], finished: Iterable[FrozenTrial]) -> None:
        """Takes over the finished cells; those that the record has not heard of are added to it.

        What other runs found in a shared study teaches the sampler as well, as far as it lies within the space.
        """
        told = set()
        experience: list[tuple[Mapping[str, Any], TrialOutcome]] = []
        for trial in finished:
            if (config := self._within_space(trial.params)) is None:
                continue
            told.add(canonical(config))
            if refusal(config, self._capabilities) is not None:
                self._refused.add(config)
            experience.append((trial.params, TrialOutcome.of_trial(trial)))
        for record in known:
            if record.state is CellState.FAILED:
                continue  # tried again
            outcome = TrialOutcome.of_record(record, self._objectives)
            self._learn(record, outcome)
            params = self._params.get(record.config)
            if record.config not in told and params is not None:
                self._log.add(params, outcome)
                experience.append((params, outcome))
        if not self.is_exhaustive:
            self._study.learn(experience)

    def _within_space(self, params: Mapping[str, Any]) -> DeploymentConfig | None:
        """The configuration that another run's parameters mean, if it is one of this space's."""
        try:
            config = DeploymentConfig.from_params(params)
        except (KeyError, ValueError):
            return None
        within = all(getattr(config, name) in choices for name, choices in self._space.choices.items())
        return config if within else None


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna's own log and its warnings about experimental parts off the terminal."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _make_sampler(
    name: SamplerName, seed: int, distributions: Mapping[str, BaseDistribution]
) -> optuna.samplers.BaseSampler:
    match name:
        case SamplerName.NSGA2:
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_POPULATION_SIZE)
        case SamplerName.NSGA3:
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=_POPULATION_SIZE)
        case SamplerName.RANDOM | SamplerName.EXHAUSTIVE:
            return optuna.samplers.RandomSampler(seed=seed)
        case SamplerName.TPE:
            return FixedSpaceTPESampler(distributions, seed=seed)


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {
        name: CategoricalDistribution([getattr(choice, "value", choice) for choice in space.choices[name]])
        for name in DIMENSIONS
    }
