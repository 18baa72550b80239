"""What a cell would cost, from a store and from the cells under way; the stages' seconds are made up."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from litefront.search.cell_cost import CellCosts
from litefront.search.store import ArtifactStore, StageRecord
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.sparsity import Sparsity
from tests.search.test_cell_plan import STEADY, answer, plans

SECONDS = {"pruned": 1000.0, "float_tflite": 100.0, "quantized": 10.0, "accuracy": 1.0, "latency": 0.1}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def costs(store: ArtifactStore) -> CellCosts:
    return CellCosts(plans(), store, SECONDS.get)


def test_a_cell_costs_every_stage_that_is_not_in_the_store(costs: CellCosts) -> None:
    assert costs.seconds(DeploymentConfig()) == pytest.approx(111.1)
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.5))) == pytest.approx(1111.1)


def test_what_a_cell_under_way_builds_is_paid_for(costs: CellCosts) -> None:
    costs.begin(DeploymentConfig(sparsity=Sparsity(0.5)))
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.5), num_threads=2)) == pytest.approx(0.1)
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.5), delegate=Delegate.NONE)) == pytest.approx(1.1)
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.5), batch_size=4)) == pytest.approx(111.1)
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.75))) == pytest.approx(1111.1)


def test_what_an_earlier_run_left_costs_nothing(costs: CellCosts, store: ArtifactStore) -> None:
    plan = plans().plan(DeploymentConfig(num_threads=2))
    call = next(plan)
    with suppress(StopIteration):
        while True:
            call = plan.send(kept(answer(call, STEADY), store))
    assert costs.seconds(DeploymentConfig(num_threads=2)) == 0
    assert costs.seconds(DeploymentConfig(num_threads=1)) == pytest.approx(0.1)


def kept(record: StageRecord, store: ArtifactStore) -> StageRecord:
    """The record with objects that really lie in the store."""
    with store.scratch() as folder:
        objects = {}
        for name in record.objects:
            (folder / name).write_text(f"{record.key} {name}", encoding="utf-8")
            objects[name] = store.add_object(folder / name)
    record = replace(record, objects=objects)
    store.add(record)
    return record


def test_a_stage_that_never_ran_is_guessed(store: ArtifactStore) -> None:
    costs = CellCosts(plans(), store, lambda _stage: None)
    assert costs.seconds(DeploymentConfig(sparsity=Sparsity(0.5))) > costs.seconds(DeploymentConfig()) > 0
