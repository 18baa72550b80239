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
from optuna.study import StudyDirection, create_study
from optuna.trial import Trial, TrialState

from litefront.search.trial_outcome import TrialOutcome

__all__ = ["BoundedStudy"]

Params = Mapping[str, Any]

# A sampler is told when there is news of one trial for so many that it knows. Splitting the trials by hypervolume is
# what costs most of an ask, and Optuna keeps that split until there is news.
_TRIALS_FOR_NEWS = 16


class BoundedStudy:
    """Asks a sampler that remembers a bounded number of trials.

    When it has grown to twice its capacity, the study is made anew: from its front, from the most recent of the other
    trials, and from all that are under way.

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
        self._begin()

    @property
    def size(self) -> int:
        """Trials that are in memory, with those under way."""
        return self._size

    def ask(self) -> dict[str, Any]:
        """Parameters to try next; they are under way until they are told or dropped."""
        trial = self._new_trial()
        earlier = self._under_way.setdefault(_key(trial.params), trial)
        if earlier is not trial:
            self._study.tell(trial, state=TrialState.FAIL)
        return trial.params

    def start(self, params: Params) -> None:
        """Parameters that were chosen elsewhere are under way: the sampler keeps away from them."""
        if _key(params) not in self._under_way:
            self._study.enqueue_trial(dict(params))
            trial = self._new_trial()
            self._join_generation(trial)
            self._under_way[_key(params)] = trial

    def tell(self, params: Params, outcome: TrialOutcome) -> None:
        """Teaches the sampler how these parameters did, whether it asked for them or not.

        Until there is enough news, they still count as under way.
        """
        self.start(params)
        self._news[_key(params)] = outcome
        if len(self._news) * _TRIALS_FOR_NEWS >= self._size:
            self._tell_news()

    def drop(self, params: Params) -> None:
        """Parameters that were under way teach nothing."""
        trial = self._under_way.pop(_key(params), None)
        if trial is not None:
            self._study.tell(trial, state=TrialState.FAIL)

    def _begin(self) -> None:
        self._study = create_study(directions=self._directions, sampler=self._make_sampler())
        self._under_way: dict[tuple[Any, ...], Trial] = {}
        self._news: dict[tuple[Any, ...], TrialOutcome] = {}
        self._size = 0

    def _new_trial(self) -> Trial:
        self._size += 1
        return self._study.ask(self._distributions)

    def _join_generation(self, trial: Trial) -> None:
        """A genetic sampler breeds only from trials that belong to a generation."""
        sampler = self._study.sampler
        if isinstance(sampler, BaseGASampler):
            sampler.get_trial_generation(self._study, self._study.get_trials(deepcopy=False)[trial.number])

    def learn(self, experience: Iterable[tuple[Params, TrialOutcome]]) -> None:
        """Teaches what earlier runs found, in its order, as far as it is worth remembering."""
        for params, outcome in _worth_keeping(list(experience), self._directions, self._capacity):
            self.tell(params, outcome)

    def _tell_news(self) -> None:
        for key, outcome in self._news.items():
            outcome.tell(self._study, self._under_way.pop(key))
        self._news.clear()
        if self._size >= 2 * self._capacity:
            self._forget()

    def _forget(self) -> None:
        """Makes the study anew from what is worth remembering."""
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        under_way = [trial.params for trial in self._under_way.values()]
        self._begin()
        self.learn((trial.params, TrialOutcome.of_trial(trial)) for trial in finished)
        for params in under_way:
            self.start(params)


def _worth_keeping(
    experience: list[tuple[Params, TrialOutcome]], directions: Sequence[StudyDirection], capacity: int
) -> list[tuple[Params, TrialOutcome]]:
    """What is on the front, and the most recent of the rest, in its order and each configuration once."""
    latest = {_key(params): (params, outcome) for params, outcome in experience}
    distinct = list(latest.values())
    on_front = _on_front([outcome for _, outcome in distinct], directions)
    by_worth = sorted(range(len(distinct)), key=lambda index: (on_front[index], index), reverse=True)
    return [distinct[index] for index in sorted(by_worth[:capacity])]


def _on_front(outcomes: Sequence[TrialOutcome], directions: Sequence[StudyDirection]) -> NDArray[np.bool_]:
    """Whether each outcome has values that no other one beats."""
    is_complete = np.array([outcome.values is not None for outcome in outcomes], dtype=bool)
    if is_complete.any():
        import moocore

        values = np.array([outcome.values for outcome in outcomes if outcome.values is not None], dtype=np.float64)
        maximise = [direction is StudyDirection.MAXIMIZE for direction in directions]
        is_complete[is_complete] = moocore.is_nondominated(values, maximise=maximise, keep_weakly=True)
    return is_complete


def _key(params: Params) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))
