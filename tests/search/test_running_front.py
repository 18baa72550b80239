"""The front that is kept cell by cell, against the one that is computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.search.front import loss_values, pareto_front
from litefront.search.running_front import RunningFront
from litefront.spaces.deployment_config import DeploymentConfig
from tests.search.records import make_record, make_spec


def cell(number: int) -> DeploymentConfig:
    return DeploymentConfig(batch_size=number + 1)


def test_an_empty_front_has_no_members() -> None:
    assert RunningFront(2).members == []


def test_a_beaten_member_leaves_and_a_beaten_cell_never_joins() -> None:
    front = RunningFront(2)
    for number, losses in enumerate([(2.0, 2.0), (3.0, 1.0), (2.5, 2.5), (1.0, 1.5)]):
        front.add(cell(number), np.array(losses))
    assert front.members == [cell(1), cell(3)]


def test_cells_of_equal_values_are_all_kept() -> None:
    front = RunningFront(2)
    front.add(cell(0), np.array([1.0, 2.0]))
    front.add(cell(1), np.array([1.0, 2.0]))
    assert front.members == [cell(0), cell(1)]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_front_of_all_cells_so_far(seed: int) -> None:
    generator = np.random.default_rng(seed)
    objectives = make_spec().chosen_objectives()
    records = [
        make_record(
            str(number),
            config=cell(number),
            accuracy=float(generator.integers(5)),
            size_bytes=float(generator.integers(5)),
            latency_ms=float(generator.integers(5)),
        )
        for number in range(60)
    ]
    front = RunningFront(len(objectives))
    for number, record in enumerate(records, start=1):
        front.add(record.config, loss_values([record], objectives)[0])
        expected = {member.config for member in pareto_front(records[:number], objectives)}
        assert set(front.members) == expected
