"""The sampler on a real Optuna study in a real journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from litefront.search.bounded_study import BoundedStudy
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.run_directory import RunDirectory
from litefront.search.sampler import CellSampler, quiet_optuna
from litefront.search.study_spec import SamplerName, StudySpec
from litefront.search.trial_storage import open_storage
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.dimension import Capabilities
from tests.search.records import make_record

SPACE = {
    "sparsity": [0.0, 0.5],
    "quantization": ["float32", "int8", "int16x8"],
    "delegate": ["none", "xnnpack"],
    "num_threads": [1, 2, 4],
    "batch_size": [1, 4],
}
# 2 x 2 x 2 x 2 x 2 with float32 and int8, and 2 x 2 x 2 with int16x8, which XNNPACK leaves to the built-in kernels;
# 4 threads are too many for 2 cores.
CELLS = 32 + 8


@pytest.fixture(autouse=True)
def _quiet() -> Iterable[None]:
    with quiet_optuna():
        yield


def make_sampler(
    path: Path,
    known: Iterable[CellRecord] = (),
    *,
    storage: optuna.storages.BaseStorage | None = None,
    owner: str | None = None,
    cost_s: Callable[[DeploymentConfig], float] | None = None,
    **changes: Any,
) -> CellSampler:
    spec = StudySpec.model_validate(
        {"study": "s", "task": "task.py:task", "space": SPACE, "budget": {"cells": 10}} | changes
    )
    sampler = CellSampler(
        spec,
        storage or open_storage(None, RunDirectory(path)),
        "s",
        capabilities=Capabilities(cores=2),
        known=known,
        baseline=BASELINE,
        owner=owner,
    )
    if cost_s is not None:
        sampler.prefer_cheap(cost_s)
    return sampler


def record_of(config: DeploymentConfig, state: CellState = CellState.MEASURED) -> CellRecord:
    """Figures that follow from the configuration, as a real device's would."""
    quantized = config.quantization != "float32"
    return make_record(
        str(config.params()),
        config=config,
        state=state,
        accuracy=0.9 - 0.01 * quantized - 0.1 * config.sparsity.level,
        size_bytes=1000 / (4 if quantized else 1) * (1 - config.sparsity.level / 2),
        latency_ms=config.batch_size / config.num_threads / (2 if quantized else 1),
    )


def run(sampler: CellSampler, number: int) -> list[DeploymentConfig]:
    proposed = []
    for _ in range(number):
        proposal = sampler.propose()
        assert proposal is not None
        proposed.append(proposal.config)
        sampler.tell(proposal, record_of(proposal.config))
    return proposed


def trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=open_storage(None, RunDirectory(path))).get_trials()


@pytest.mark.parametrize("name", list(SamplerName))
def test_every_sampler_finishes_the_space_without_a_repeat(name: SamplerName, tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, sampler=name.value)
    proposed = run(sampler, CELLS)
    assert len(set(proposed)) == CELLS
    assert sampler.propose() is None
    assert all(trial.state.is_finished() for trial in trials(tmp_path))


def test_the_baseline_comes_first(tmp_path: Path) -> None:
    assert run(make_sampler(tmp_path), 1) == [BASELINE]


def test_a_baseline_outside_the_space_is_measured_without_a_trial(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, space=SPACE | {"quantization": ["int8"]})
    proposal = sampler.propose()
    assert proposal is not None
    assert proposal.config == BASELINE
    assert proposal.trial is None
    sampler.tell(proposal, record_of(BASELINE))
    assert trials(tmp_path) == []


def test_cells_under_way_are_not_proposed_again(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path)
    proposals = [sampler.propose() for _ in range(CELLS)]
    assert len({proposal.config for proposal in proposals if proposal}) == CELLS
    assert sampler.propose() is None


def test_a_measured_cell_is_told_with_its_values(tmp_path: Path) -> None:
    run(make_sampler(tmp_path), 1)
    (trial,) = trials(tmp_path)
    assert trial.state is TrialState.COMPLETE
    assert trial.values == [0.9, 1000.0, 1.0]


def test_a_rejected_cell_is_told_with_its_violation_and_reason(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path)
    proposal = sampler.propose()
    assert proposal is not None
    record = CellRecord("x", proposal.config, CellState.REJECTED, "host", reason="too inaccurate", violation=0.25)
    sampler.tell(proposal, record)
    (trial,) = trials(tmp_path)
    assert trial.state is TrialState.PRUNED
    assert trial.constraints == {"violation": 0.25}
    assert trial.user_attrs["reason"] == "too inaccurate"


def test_a_failed_cell_is_told_as_failed(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path)
    proposal = sampler.propose()
    assert proposal is not None
    sampler.tell(proposal, record_of(proposal.config, CellState.FAILED))
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.FAIL]


def test_stopping_leaves_no_trial_running(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path)
    for _ in range(5):
        sampler.propose()
    sampler.abandon()
    assert all(trial.state.is_finished() for trial in trials(tmp_path))


def test_a_killed_run_leaves_no_trial_running_for_the_next(tmp_path: Path) -> None:
    killed = make_sampler(tmp_path)
    for _ in range(3):
        killed.propose()
    assert TrialState.RUNNING in {trial.state for trial in trials(tmp_path)}
    make_sampler(tmp_path)
    assert all(trial.state.is_finished() for trial in trials(tmp_path))


def test_a_later_run_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    first = run(make_sampler(tmp_path), 12)
    rest = run(make_sampler(tmp_path, known=map(record_of, first)), CELLS - 12)
    assert len({*first, *rest}) == CELLS


def test_failed_cells_are_tried_again_by_a_later_run(tmp_path: Path) -> None:
    failed = record_of(DeploymentConfig(num_threads=2), CellState.FAILED)
    proposed = run(make_sampler(tmp_path, known=[record_of(BASELINE), failed], budget={"cells": CELLS}), CELLS - 1)
    assert failed.config in proposed


def test_a_lost_journal_is_made_again_from_the_cells(tmp_path: Path) -> None:
    known = [record_of(config) for config in run(make_sampler(tmp_path), 6)]
    before = [(trial.params, trial.values) for trial in trials(tmp_path)]
    (tmp_path / "optuna.journal").unlink()
    make_sampler(tmp_path, known=known)
    after = [(trial.params, trial.values) for trial in trials(tmp_path) if trial.state is TrialState.COMPLETE]
    assert len(after) == 6
    assert [values for _, values in after] == [record_values(record) for record in known]
    assert len(before) >= len(after)


def record_values(record: CellRecord) -> list[float]:
    return [record.value(name) for name in ("accuracy", "size_bytes", "latency_ms")]


def test_a_known_cell_is_not_added_to_the_study_twice(tmp_path: Path) -> None:
    known = [record_of(config) for config in run(make_sampler(tmp_path), 6)]
    number = len(trials(tmp_path))
    make_sampler(tmp_path, known=known)
    assert len(trials(tmp_path)) == number


@pytest.mark.parametrize(
    "damage", [b'{"op_code": 4, "worker', b"\x00\xff not json\n{}\n"], ids=["cut short", "garbage"]
)
def test_a_damaged_journal_is_put_aside_and_made_again(tmp_path: Path, damage: bytes) -> None:
    known = [record_of(config) for config in run(make_sampler(tmp_path), 4)]
    journal = tmp_path / "optuna.journal"
    with open(journal, "ab") as file:
        file.write(damage)
    proposed = run(make_sampler(tmp_path, known=known), 3)
    assert not {record.config for record in known} & set(proposed)
    assert len([trial for trial in trials(tmp_path) if trial.state is TrialState.COMPLETE]) >= 7


def test_a_lock_that_a_killed_run_left_does_not_hold_up_the_next(tmp_path: Path) -> None:
    run(make_sampler(tmp_path), 1)
    (tmp_path / "optuna.journal.lock").symlink_to(tmp_path / "optuna.journal")
    run(make_sampler(tmp_path, known=[record_of(BASELINE)]), 1)


def test_a_budget_that_covers_the_space_takes_its_cells_in_order(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, budget={"cells": CELLS})
    assert run(sampler, CELLS) == [BASELINE, *(cell for cell in sampler.cells if cell != BASELINE)]


def test_invalid_configurations_teach_the_sampler_and_cost_nothing(tmp_path: Path) -> None:
    proposed = run(make_sampler(tmp_path, sampler="random"), 20)
    assert all(config.num_threads <= 2 for config in proposed)
    refused = [trial for trial in trials(tmp_path) if trial.state is TrialState.PRUNED]
    assert refused
    assert all(trial.params["num_threads"] == 4 and trial.constraints == {"violation": 1.0} for trial in refused)
    assert all(trial.user_attrs["reason"] for trial in refused)


def test_a_refused_configuration_is_a_trial_once(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, sampler="random")
    run(sampler, 20)
    again = make_sampler(tmp_path, known=[record_of(BASELINE)], sampler="random")
    run(again, 10)
    refused = [str(trial.params) for trial in trials(tmp_path) if trial.state is TrialState.PRUNED]
    assert len(set(refused)) == len(refused) > 3


def test_the_same_seed_proposes_the_same_cells(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert run(make_sampler(tmp_path / "one"), 15) == run(make_sampler(tmp_path / "two"), 15)


def test_tpe_is_drawn_to_the_front(tmp_path: Path) -> None:
    """On 40 cells of which a quarter are quantized and single-batch, those come early more often than by chance."""
    sampler = make_sampler(tmp_path, objectives=["latency", "size"], budget={"cells": CELLS - 1})
    early = run(sampler, CELLS // 2)
    good = [config for config in early if config.quantization != "float32" and config.batch_size == 1]
    share_by_chance = 14 / CELLS  # 8 int8 and 4 int16x8 of batch 1, and those of the first random picks
    assert len(good) / len(early) > share_by_chance


def always_asks_for_the_baseline(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Has Optuna repeat itself; gives the asks."""
    asks: list[None] = []

    def ask(_study: BoundedStudy) -> dict[str, Any]:
        asks.append(None)
        return BASELINE.params()

    monkeypatch.setattr(BoundedStudy, "ask", ask)
    return asks


def differing(one: DeploymentConfig, other: DeploymentConfig) -> int:
    return sum(one.params()[name] != value for name, value in other.params().items())


def test_a_repeat_costs_one_ask_and_gives_a_cell_next_to_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = always_asks_for_the_baseline(monkeypatch)
    sampler = make_sampler(tmp_path, known=[record_of(BASELINE)])
    proposal = sampler.propose()
    assert proposal is not None and differing(proposal.config, BASELINE) == 1
    asked_ahead = len(asks)
    sampler.tell(proposal, record_of(proposal.config))
    sampler.propose()
    assert len(asks) - asked_ahead <= 1


def test_random_cells_are_random_after_a_repeat_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always_asks_for_the_baseline(monkeypatch)
    sampler = make_sampler(tmp_path, known=[record_of(BASELINE)], sampler="random")
    proposals = [sampler.propose() for _ in range(8)]
    assert max(differing(proposal.config, BASELINE) for proposal in proposals if proposal) > 1


def test_a_measured_cell_is_two_writes(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, budget={"cells": CELLS})
    journal = tmp_path / "optuna.journal"
    before = len(journal.read_bytes().splitlines())
    run(sampler, 10)
    assert len(journal.read_bytes().splitlines()) - before == 2 * 10


LARGE_SPACE = {
    "sparsity": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    "quantization": ["float32", "float16", "dynamic_int8", "int8", "weight_only_int8", "dynamic_int4"],
    "delegate": ["none", "xnnpack"],
    "num_threads": [1, 2],
    "batch_size": [1, 2, 4, 8, 16, 32, 64, 128],
}


@pytest.mark.parametrize("name", [SamplerName.TPE, SamplerName.NSGA2])
def test_what_a_sampler_remembers_does_not_grow_with_the_search(name: SamplerName, tmp_path: Path) -> None:
    sampler = make_sampler(
        tmp_path,
        storage=optuna.storages.InMemoryStorage(),
        space=LARGE_SPACE,
        sampler=name.value,
        budget={"cells": 1900},
        objectives=["size", "latency"],
    )
    remembered, proposed = [], []
    for _ in range(6):
        proposed += run(sampler, 50)
        remembered.append(sampler.remembered)
    assert len(set(proposed)) == 300
    # At most twice the 100 trials that it keeps when it begins anew, and the few that are under way.
    assert max(remembered) <= 220


def test_of_proposals_asked_ahead_the_cheapest_goes_first(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, cost_s=lambda config: 60.0 * config.sparsity.level, sampler="random")
    assert run(sampler, 8)[0] == BASELINE
    early = run(make_sampler(tmp_path, known=[record_of(BASELINE)], cost_s=lambda c: 60.0 * c.sparsity.level), 5)
    assert [config.sparsity.level for config in early].count(0.0) >= 4


@pytest.mark.parametrize("name", [SamplerName.TPE, SamplerName.NSGA2, SamplerName.RANDOM])
def test_with_costs_every_cell_is_still_proposed_once(name: SamplerName, tmp_path: Path) -> None:
    sampler = make_sampler(
        tmp_path, cost_s=lambda config: 60.0 * config.sparsity.level, sampler=name.value, budget={"cells": CELLS - 1}
    )
    assert len(set(run(sampler, CELLS))) == CELLS
    assert sampler.propose() is None
    assert all(trial.state.is_finished() for trial in trials(tmp_path))


def test_a_corrected_cell_is_told_by_a_further_trial_and_not_proposed_again(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path)
    (first, *_) = run(sampler, 6)
    corrected = replace(record_of(first), figures=record_of(DeploymentConfig(batch_size=4)).figures)
    sampler.correct(corrected)
    told = [trial.values for trial in trials(tmp_path) if trial.params == first.params()]
    assert told == [record_values(record_of(first)), record_values(corrected)]
    assert first not in run(sampler, CELLS - 6)


def test_what_was_only_asked_ahead_is_no_trial(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, cost_s=lambda config: 1.0)
    run(sampler, 4)
    assert sampler.propose() is not None
    sampler.abandon()
    states = Counter(trial.state for trial in trials(tmp_path))
    assert (states[TrialState.COMPLETE], states[TrialState.FAIL], states[TrialState.RUNNING]) == (4, 1, 0)


def shared_storage(path: Path) -> optuna.storages.BaseStorage:
    return open_storage(f"sqlite:///{path}/trials.db", RunDirectory(path))


def shared_trials(path: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=shared_storage(path)).get_trials()


def test_a_resume_ends_only_its_own_trials_in_a_shared_study(tmp_path: Path) -> None:
    ann = make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="ann")
    bob = make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="bob")
    ann.propose()
    of_bob = bob.propose()
    make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="ann")
    assert [trial.state for trial in shared_trials(tmp_path)] == [TrialState.FAIL, TrialState.RUNNING]
    assert of_bob is not None
    bob.tell(of_bob, record_of(of_bob.config))
    assert [trial.state for trial in shared_trials(tmp_path)] == [TrialState.FAIL, TrialState.COMPLETE]


def test_runs_that_share_a_study_search_apart(tmp_path: Path) -> None:
    ann = make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="ann", sampler="random")
    bob = make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="bob", sampler="random")
    assert run(ann, 8) != run(bob, 8)
    assert len([trial for trial in shared_trials(tmp_path) if trial.state is TrialState.COMPLETE]) == 16


@pytest.mark.parametrize("params", [{"x": 1}, BASELINE.params() | {"batch_size": 77}], ids=["names", "values"])
def test_trials_of_another_space_confuse_nobody(params: dict[str, Any], tmp_path: Path) -> None:
    storage = open_storage(None, RunDirectory(tmp_path))
    study = optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize", "minimize"])
    distributions = {key: optuna.distributions.CategoricalDistribution([value]) for key, value in params.items()}
    study.add_trial(optuna.create_trial(params=params, distributions=distributions, values=[1, 2, 3]))
    sampler = make_sampler(tmp_path, storage=storage, owner="ann", budget={"cells": CELLS - 1})
    assert sampler.remembered == 0
    assert len(set(run(sampler, 20))) == 20


def test_what_others_measured_teaches_but_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    run(make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="ann"), 12)
    bob = make_sampler(tmp_path, storage=shared_storage(tmp_path), owner="bob", budget={"cells": CELLS - 1})
    assert bob.remembered >= 12
    assert len(set(run(bob, CELLS))) == CELLS
