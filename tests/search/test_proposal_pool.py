"""Proposals asked ahead: the cheapest goes first, and none starves."""

from __future__ import annotations

from dataclasses import dataclass

from litefront.search.proposal_pool import ProposalPool
from litefront.spaces.deployment_config import DeploymentConfig


@dataclass(frozen=True)
class Asked:
    config: DeploymentConfig


def asked(cost: int) -> Asked:
    return Asked(DeploymentConfig(batch_size=cost))


def make_pool(size: int = 3, patience: int = 100) -> ProposalPool[Asked]:
    return ProposalPool(lambda config: config.batch_size, size=size, patience=patience)


def test_an_empty_pool_has_nothing() -> None:
    assert make_pool().take() is None


def test_the_cheapest_goes_first() -> None:
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
    pool: ProposalPool[Asked] = ProposalPool(lambda config: costs[config.batch_size], size=2, patience=100)
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
