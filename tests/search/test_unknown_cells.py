"""The cells that are left, against a plain search through all of them."""

from __future__ import annotations

import random

import pytest

from litefront.search.unknown_cells import UnknownCells
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.search_space import DIMENSIONS
from tests.search.records import make_spec

CELLS = make_spec().space.search_space().cells(Capabilities(cores=2))
OUTSIDE = DeploymentConfig(batch_size=77)


def distance(one: DeploymentConfig, other: DeploymentConfig) -> int:
    return sum(getattr(one, name) != getattr(other, name) for name in DIMENSIONS)


def test_the_first_is_the_first_in_the_order_of_the_space() -> None:
    unknown = UnknownCells(CELLS)
    found = []
    while unknown:
        found.append(unknown.first())
        unknown.discard(found[-1])
    assert found == CELLS


def test_a_cell_is_taken_out_once() -> None:
    unknown = UnknownCells(CELLS)
    unknown.discard(CELLS[3])
    unknown.discard(CELLS[3])
    unknown.discard(OUTSIDE)
    assert len(unknown) == len(CELLS) - 1


def test_without_a_front_every_unknown_cell_is_as_near() -> None:
    unknown = UnknownCells(CELLS)
    unknown.discard(CELLS[0])
    assert unknown.nearest_to([]) == CELLS[1:]


def test_a_member_outside_the_space_is_near_to_nothing() -> None:
    assert UnknownCells(CELLS).nearest_to([OUTSIDE]) == CELLS


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_are_those_of_a_plain_search_while_the_front_moves(seed: int) -> None:
    generator = random.Random(seed)
    unknown, left = UnknownCells(CELLS), list(CELLS)
    front = [BASELINE]
    for _ in range(len(CELLS) - 1):
        gone = generator.choice(left)
        unknown.discard(gone)
        left.remove(gone)
        front = [*generator.sample(front, k=max(1, len(front) - generator.randrange(2))), gone]
        nearest = min(distance(cell, member) for cell in left for member in front)
        expected = [cell for cell in left if min(distance(cell, member) for member in front) == nearest]
        assert unknown.nearest_to(front) == expected
