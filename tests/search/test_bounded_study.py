"""A study in memory that stays small, with each of Optuna's samplers that is used."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from litefront.search.bounded_study import BoundedStudy
from litefront.search.fixed_space_tpe import FixedSpaceTPESampler
from litefront.search.sampler import quiet_optuna
from litefront.search.trial_outcome import TrialOutcome

CAPACITY = 50
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "x": CategoricalDistribution(list(range(12))),
    "y": CategoricalDistribution(list(range(12))),
}
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "tpe": lambda: FixedSpaceTPESampler(DISTRIBUTIONS, seed=1),
    "nsga2": lambda: NSGAIISampler(seed=1, population_size=8),
    "nsga3": lambda: NSGAIIISampler(seed=1, population_size=8),
    "random": lambda: RandomSampler(seed=1),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


def make_study(sampler: str = "tpe") -> BoundedStudy:
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    return BoundedStudy(SAMPLERS[sampler], directions, DISTRIBUTIONS, capacity=CAPACITY)


def measured(params: dict[str, int]) -> TrialOutcome:
    """Both objectives are best where x is 0."""
    return TrialOutcome(TrialState.COMPLETE, (params["x"] + 0.01 * params["y"], -params["x"] + 0.01 * params["y"]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_memory_stays_bounded_with_what_is_under_way(sampler: str) -> None:
    study = make_study(sampler)
    under_way = [{"x": 11, "y": y} for y in range(5)]
    for params in under_way:
        study.start(params)
    for _ in range(10 * CAPACITY):
        params = study.ask()
        if params not in under_way:
            study.tell(params, measured(params))
        # Up to an eighth of the trials waits to be told, and the asks in between are there too.
        assert study.size <= 3 * CAPACITY


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3"])
def test_a_sampler_learns_across_what_it_forgets(sampler: str) -> None:
    study = make_study(sampler)
    asked = []
    for _ in range(6 * CAPACITY):
        asked.append(study.ask())
        study.tell(asked[-1], measured(asked[-1]))
    late = asked[3 * CAPACITY :]
    by_chance = 3 / 12
    assert sum(params["x"] < 3 for params in late) / len(late) > 1.3 * by_chance


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3"])
def test_a_sampler_learns_from_what_others_chose(sampler: str) -> None:
    study = make_study(sampler)
    everything = [{"x": x, "y": y} for x in range(12) for y in range(12)]
    random.Random(0).shuffle(everything)
    study.learn((params, measured(params)) for params in everything)
    asked = [study.ask() for _ in range(40)]
    assert sum(params["x"] < 3 for params in asked) / len(asked) > 1.3 * 3 / 12


def test_the_front_is_remembered_however_long_ago_it_was() -> None:
    study = make_study()
    study.learn([({"x": 0, "y": 11}, measured({"x": 0, "y": 11}))])
    for number in range(6 * CAPACITY):
        params = {"x": 6 + number % 6, "y": number % 12}
        study.tell(params, measured(params))
    asked = [study.ask() for _ in range(10)]
    assert any(params["x"] == 0 for params in asked)


def test_what_was_chosen_elsewhere_is_no_trial_until_it_is_told() -> None:
    study = make_study()
    study.start({"x": 1, "y": 1})
    assert study.size == 0
    study.tell({"x": 1, "y": 1}, measured({"x": 1, "y": 1}))
    assert study.size == 1


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3"])
def test_what_was_asked_for_before_a_study_was_made_anew_still_teaches(sampler: str) -> None:
    study = make_study(sampler)
    early = [{"x": 0, "y": y} for y in range(12)]
    for params in early:
        study.start(params)
    asked = [study.ask() for _ in range(5)]
    for number in range(4 * CAPACITY):
        params = {"x": 6 + number % 6, "y": number % 12}
        study.tell(params, measured(params))
    for params in [*asked, *early]:
        study.tell(params, measured(params))
    for number in range(CAPACITY // 4):  # until what was told is known
        params = {"x": 6 + number % 6, "y": number % 12}
        study.tell(params, measured(params))
    late = [study.ask() for _ in range(60)]
    assert sum(params["x"] == 0 for params in late) / len(late) > 1.5 / 12


def test_what_is_under_way_is_dropped_once() -> None:
    study = make_study()
    params = study.ask()
    study.drop(params)
    study.drop(params)
    study.tell(params, measured(params))
    assert study.size == 2


def test_failures_teach_nothing_and_stop_nothing() -> None:
    study = make_study()
    outcomes: Iterable[TrialOutcome] = (TrialOutcome(TrialState.FAIL, reason="broken") for _ in range(5 * CAPACITY))
    for outcome in outcomes:
        study.tell(study.ask(), outcome)
    assert study.size <= 3 * CAPACITY
