"""An Optuna study in memory that stays small, so that what an ask costs does not grow with the search.

Optuna's multi-objective samplers go through every trial at each ask. A search of thousands of cells needs only its
front and what was tried lately to go on well: the rest is forgotten here, and stays in the study that is the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection, create_study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from litefront.search.trial_outcome import TrialOutcome

__all__ = ["BoundedStudy"]

Params = Mapping[str, Any]
_Key = tuple[Any, ...]

# A sampler is told when there is news of one trial for so many that it knows. Splitting the trials by hypervolume is
# what costs most of an ask, and Optuna keeps that split until there is news.
_TRIALS_FOR_NEWS = 8
_TEACHES_NOTHING = TrialOutcome(TrialState.FAIL)


class BoundedStudy:
    """Asks a sampler that remembers a bounded number of trials.

    When half as many trials again have ended as it is to remember, the study is made anew: from its front, and from the
    most recent of the other trials. The samplers learn from ended trials alone, so that what is under way need not be a
    trial until it is told.

    Args:
        make_sampler: Makes the sampler; called each time the study is made anew.
        directions: The study's directions.
        distributions: The distribution of each parameter.
        capacity: Finished trials that are remembered.
    """

    def __init__(
        self,
        make_sampler: Callable[[], BaseSampler],
        directions: Sequence[StudyDirection],
        distributions: Mapping[str, BaseDistribution],
        *,
        capacity: int,
    ) -> None:
        self._make_sampler = make_sampler
        self._directions = list(directions)
        self._distributions = dict(distributions)
        self._capacity = capacity
        # The trial of each configuration under way; None of one that the study as it is now was not asked for.
        self._under_way: dict[_Key, Trial | None] = {}
        self._news: dict[_Key, tuple[Params, TrialOutcome]] = {}
        self._begin()

    @property
    def size(self) -> int:
        """Trials that are in memory, ended or asked for."""
        return self._ended + sum(trial is not None for trial in self._under_way.values())

    def ask(self) -> dict[str, Any]:
        """Parameters to try next; they are under way until they are told or dropped."""
        trial = self._study.ask(self._distributions)
        if _key(trial.params) in self._under_way:
            self._end(trial, _TEACHES_NOTHING)
        else:
            self._under_way[_key(trial.params)] = trial
        return trial.params

    def start(self, params: Params) -> None:
        """Parameters that were chosen elsewhere are under way: they are not taken for new when they are asked for."""
        self._under_way.setdefault(_key(params), None)

    def tell(self, params: Params, outcome: TrialOutcome) -> None:
        """Teaches the sampler how these parameters did, whether it asked for them or not.

        Until there is enough news, they still count as under way.
        """
        self.start(params)
        self._news[_key(params)] = (params, outcome)
        if len(self._news) * _TRIALS_FOR_NEWS >= self._ended:
            self._tell_news()

    def drop(self, params: Params) -> None:
        """Parameters that were under way teach nothing."""
        trial = self._under_way.pop(_key(params), None)
        if trial is not None:
            self._end(trial, _TEACHES_NOTHING)

    def learn(self, experience: Iterable[tuple[Params, TrialOutcome]]) -> None:
        """Teaches what earlier runs found, in its order, as far as it is worth remembering."""
        trials = [outcome.as_trial(params, self._distributions, {}) for params, outcome in experience]
        for trial in _worth_keeping(trials, self._directions, self._capacity):
            self._remember(trial)

    def _begin(self) -> None:
        self._storage = InMemoryStorage()
        self._study = create_study(directions=self._directions, sampler=self._make_sampler(), storage=self._storage)
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._ended = 0

    def _remember(self, trial: FrozenTrial) -> None:
        """Adds a trial that has ended."""
        if isinstance(self._study.sampler, BaseGASampler):
            # Its generation is another one in this study, and can be had while a trial is under way only.
            self._end(self._begun(trial.params), TrialOutcome.of_trial(trial))
        else:
            self._study.add_trial(trial)
            self._ended += 1

    def _begun(self, params: Params) -> Trial:
        """A trial of parameters that the sampler need not choose, at a part of what an ask costs."""
        template = create_trial(state=TrialState.RUNNING, params=dict(params), distributions=self._distributions)
        trial_id = self._storage.create_new_trial(self._study_id, template)
        if isinstance(self._study.sampler, BaseGASampler):
            # It breeds only from trials that belong to a generation.
            self._study.sampler.get_trial_generation(self._study, self._storage.get_trial(trial_id))
        return Trial(self._study, trial_id)

    def _end(self, trial: Trial, outcome: TrialOutcome) -> None:
        outcome.tell(self._study, trial)
        self._ended += 1

    def _tell_news(self) -> None:
        for key, (params, outcome) in self._news.items():
            self._end(self._under_way.pop(key, None) or self._begun(params), outcome)
        self._news.clear()
        if 2 * self._ended >= 3 * self._capacity:
            self._forget()

    def _forget(self) -> None:
        """Makes the study anew from what is worth remembering."""
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        self._under_way = dict.fromkeys(self._under_way)
        self._begin()
        for trial in _worth_keeping(finished, self._directions, self._capacity):
            self._remember(trial)


def _worth_keeping(
    finished: Sequence[FrozenTrial], directions: Sequence[StudyDirection], capacity: int
) -> list[FrozenTrial]:
    """What is on the front, and the most recent of the rest, in its order and each configuration once."""
    distinct = list({_key(trial.params): trial for trial in finished}.values())
    on_front = _on_front(distinct, directions)
    by_worth = sorted(range(len(distinct)), key=lambda index: (on_front[index], index), reverse=True)
    return [distinct[index] for index in sorted(by_worth[:capacity])]


def _on_front(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> NDArray[np.bool_]:
    """Whether each trial has values that no other one beats."""
    is_complete = np.array([trial.state is TrialState.COMPLETE for trial in trials], dtype=bool)
    if is_complete.any():
        import moocore

        values = np.array([trial.values for trial in trials if trial.state is TrialState.COMPLETE], dtype=np.float64)
        maximise = [direction is StudyDirection.MAXIMIZE for direction in directions]
        is_complete[is_complete] = moocore.is_nondominated(values, maximise=maximise, keep_weakly=True)
    return is_complete


def _key(params: Params) -> _Key:
    return tuple(sorted(params.items()))
