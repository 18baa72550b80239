"""Proposals asked ahead: the cheapest of those that promise most goes first, and none starves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litefront.search.proposal_pool import ProposalPool
from litefront.spaces.deployment_config import DeploymentConfig


@dataclass(frozen=True)
class Asked:
    config: DeploymentConfig


def asked(cost: int) -> Asked:
    return Asked(DeploymentConfig(batch_size=cost))


def make_pool(size: int = 3, patience: int = 100) -> ProposalPool[Asked]:
    return ProposalPool(unknown, lambda config: config.batch_size, size=size, patience=patience)


def unknown(configs: Sequence[DeploymentConfig]) -> None:
    """Nothing is known of what cells promise."""


def test_an_empty_pool_has_nothing() -> None:
    assert make_pool().take() is None


def test_the_cheapest_goes_first_while_nothing_is_known_of_promises() -> None:
    pool = make_pool()
    for cost in (5, 2, 9):
        assert not pool.is_full
        pool.add(asked(cost))
    assert pool.is_full
    assert [pool.take() for _ in range(4)] == [asked(2), asked(5), asked(9), None]


def test_of_equally_cheap_ones_the_oldest_goes_first() -> None:
    pool = make_pool()
    first = Asked(DeploymentConfig(batch_size=2, num_threads=4))
    pool.add(first)
    pool.add(asked(2))
    assert pool.take() == first


def test_costs_are_asked_when_one_is_taken() -> None:
    costs = {1: 10.0, 2: 20.0}
    pool: ProposalPool[Asked] = ProposalPool(unknown, lambda config: costs[config.batch_size], size=2, patience=100)
    pool.add(asked(1))
    pool.add(asked(2))
    costs[2] = 0.0
    assert pool.take() == asked(2)


def test_what_was_passed_over_often_goes_first() -> None:
    pool = make_pool(patience=2)
    pool.add(asked(50))
    taken = []
    for _ in range(4):
        pool.add(asked(1))
        taken.append(pool.take())
    assert taken == [asked(1), asked(1), asked(50), asked(1)]


def promising(promise: dict[int, float], cost_s: dict[int, float] | None = None) -> list[int]:
    """The order in which cells of these batches are taken."""
    pool: ProposalPool[Asked] = ProposalPool(
        lambda configs: np.array([promise[config.batch_size] for config in configs]),
        None if cost_s is None else lambda config: cost_s[config.batch_size],
        size=len(promise),
        patience=100,
    )
    for batch_size in promise:
        pool.add(asked(batch_size))
    return [taken.config.batch_size for _ in promise if (taken := pool.take()) is not None]


def test_the_most_promising_goes_first_where_all_cost_alike() -> None:
    assert promising({1: 0.2, 2: 0.9, 3: 0.0}) == [2, 1, 3]


def test_of_similar_promises_the_cheapest_goes_first() -> None:
    assert promising({1: 0.7, 2: 0.9, 3: 0.8}, {1: 1.0, 2: 9.0, 3: 2.0}) == [1, 3, 2]


def test_what_promises_much_more_goes_first_whatever_it_costs() -> None:
    assert promising({1: 0.2, 2: 0.9, 3: 0.3}, {1: 1.0, 2: 9.0, 3: 2.0}) == [2, 3, 1]


def test_a_cell_that_promises_nothing_is_not_taken_because_it_is_cheap() -> None:
    assert promising({1: 0.0, 2: 0.1, 3: 0.0}, {1: 2.0, 2: 60.0, 3: 1.0}) == [2, 3, 1]


def test_what_is_free_still_differs_by_its_promise() -> None:
    assert promising({1: 0.15, 2: 0.2}, {1: 0.0, 2: 0.05}) == [2, 1]
