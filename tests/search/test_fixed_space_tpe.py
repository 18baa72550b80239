"""TPE over a space that never changes: the same choices as Optuna's own, without the search for the space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection, create_study

from litefront.search.fixed_space_tpe import FixedSpaceTPESampler
from litefront.search.sampler import quiet_optuna

SPACE: dict[str, BaseDistribution] = {
    "y": CategoricalDistribution(list(range(12))),
    "only": CategoricalDistribution(["one"]),
    "x": CategoricalDistribution(list(range(12))),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_optuna():
        yield


def asked(sampler: BaseSampler, number: int, under_way: int = 0) -> list[dict[str, Any]]:
    """What is asked for when every trial but the latest ones has been told."""
    study = create_study(directions=[StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE], sampler=sampler)
    trials = []
    for _ in range(number):
        trials.append(study.ask(SPACE))
        if len(trials) > under_way:
            trial = trials[-1 - under_way]
            study.tell(trial, (trial.params["x"] + 0.1 * trial.params["y"], trial.params["y"]))
    return [trial.params for trial in trials]


@pytest.mark.parametrize("under_way", [0, 8])
def test_it_chooses_what_optunas_own_chooses(under_way: int) -> None:
    mine = asked(FixedSpaceTPESampler(SPACE, seed=3), 60, under_way)
    assert mine == asked(TPESampler(seed=3, multivariate=True), 60, under_way)
    assert len({(params["x"], params["y"]) for params in mine}) > 10


def test_no_ask_looks_for_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the space is known")

    monkeypatch.setattr(IntersectionSearchSpace, "calculate", refuse)
    assert len(asked(FixedSpaceTPESampler(SPACE, seed=3), 20)) == 20
