"""The search itself, on stages that answer at once: when it ends, and what it measures again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from litefront.search.cell_record import CellRecord
from litefront.search.ledger import Ledger
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.sampler import quiet_optuna
from litefront.search.scheduler import Scheduler
from litefront.search.stage_calls import StageCall
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyContext
from litefront.search.study_run import search
from litefront.search.study_spec import StudySpec
from litefront.search.trial_storage import open_storage
from tests.search.made_workers import Latency, MadeWorkers, open_made_study

SPACE = {
    "sparsity": [0.0, 0.25, 0.5, 0.75],
    "quantization": ["float32", "float16", "int8", "dynamic_int8", "dynamic_int4"],
    "num_threads": [1, 2, 4],
    "batch_size": [1, 4, 16],
}


class Listener:
    """Notes what a search tells."""

    def __init__(self) -> None:
        self.cells: list[CellRecord] = []
        self.notes: list[str] = []

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None: ...

    def stage_started(self, call: StageCall) -> None: ...

    def cell_finished(self, record: CellRecord) -> None:
        self.cells.append(record)

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def stopped(self, signal_number: int) -> None: ...


def made_spec(**keys: Any) -> StudySpec:
    study = {"study": "made", "task": "task.py:task", "space": SPACE, "objectives": ["accuracy", "size", "latency"]}
    return StudySpec.model_validate(study | keys)


def lawful(params: Mapping[str, Any], attempt: int) -> float:
    """A latency that each parameter takes its share of, and that is the same each time."""
    kernels = {"float32": 8.0, "float16": 8.0, "dynamic_int4": 4.0, "dynamic_int8": 3.0, "int8": 2.0}
    return float(kernels[params["quantization"]] * params["batch_size"] ** 0.9 / params["num_threads"] ** 0.7)


Run = Callable[..., tuple[Listener, MadeWorkers]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a study in the same folder each time it is called."""

    def run_search(
        spec: StudySpec,
        latency_ms: Latency = lawful,
        stop: Callable[[], bool] = lambda: False,
        speed: Callable[[int], float] = lambda _number: 1.0,
    ) -> tuple[Listener, MadeWorkers]:
        directory, listener = RunDirectory(tmp_path), Listener()
        directory.create()
        store = ArtifactStore(directory.store)
        workers = MadeWorkers(store, latency_ms, speed)
        scheduler = Scheduler(workers, store, Ledger(directory), shares_cores=True)
        with quiet_optuna():
            storage = open_storage(None, directory)
            search(open_made_study(spec), directory, store, storage, scheduler, workers, listener).run(stop)
        scheduler.close()
        return listener, workers

    return run_search


def lines(folder: Path) -> list[dict[str, Any]]:
    return [line["record"] for line in read_json_lines(RunDirectory(folder).cells)]


def test_a_budget_of_cells_is_spent_and_no_cell_is_made_twice(run: Run, tmp_path: Path) -> None:
    run(made_spec(budget={"cells": 40, "remeasure": 0, "min_gain": 0}))
    cells = [record["cell"] for record in lines(tmp_path)]
    assert len(cells) == len(set(cells)) == 40


def test_a_search_ends_when_more_would_not_help_and_says_so(run: Run, tmp_path: Path) -> None:
    listener, _ = run(made_spec(budget={"cells": 170, "remeasure": 0, "min_gain": 0.2}))
    assert 40 <= len(lines(tmp_path)) < 170
    assert any("more would not help" in note for note in listener.notes)


def test_a_space_that_the_budget_covers_is_finished_whatever_it_gains(run: Run, tmp_path: Path) -> None:
    listener, _ = run(made_spec(budget={"remeasure": 0, "min_gain": 0.9}))
    assert len(lines(tmp_path)) == 4 * 5 * 3 * 3
    assert listener.notes == []


def noisy(params: Mapping[str, Any], attempt: int) -> float:
    """The same time for any number of threads, but for a little that changes from one measurement to the next."""
    return lawful({**params, "num_threads": 1}, attempt) * (1 + 0.01 * ((attempt + params["num_threads"]) % 3 - 1))


def test_cells_whose_place_noise_decides_are_measured_again_and_pooled(run: Run, tmp_path: Path) -> None:
    listener, workers = run(made_spec(budget={"cells": 60, "remeasure": 0.5, "min_gain": 0}), noisy)
    again = [record for record in lines(tmp_path) if record["facts"].get("remeasured")]
    assert again
    assert len(again) <= 30
    assert all(1 <= record["facts"]["remeasured"] <= 3 for record in again)
    assert all(len(record["facts"]["timings"]) == record["facts"]["remeasured"] + 1 for record in again)
    assert any("measured again" in note for note in listener.notes)
    keys = [call.key for call in workers.ran]
    assert len(keys) == len(set(keys))


def test_nothing_is_measured_again_where_the_budget_has_nothing_for_it(run: Run, tmp_path: Path) -> None:
    run(made_spec(budget={"cells": 60, "remeasure": 0, "min_gain": 0}), noisy)
    assert not [record for record in lines(tmp_path) if record["facts"].get("remeasured")]


def test_the_same_command_again_measures_nothing_again(run: Run, tmp_path: Path) -> None:
    spec = made_spec(budget={"cells": 60, "remeasure": 0.5, "min_gain": 0})
    run(spec, noisy)
    before = lines(tmp_path)
    _, workers = run(spec, noisy)
    assert workers.ran == []
    assert lines(tmp_path) == before


def test_a_stopped_search_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    spec = made_spec(budget={"cells": 40, "remeasure": 0, "min_gain": 0})
    run(spec, stop=lambda: len(lines(tmp_path)) >= 20)
    assert 20 <= len(lines(tmp_path)) < 40
    run(spec)
    cells = [record["cell"] for record in lines(tmp_path)]
    assert len(cells) == len(set(cells)) == 40


def test_every_cell_but_the_baseline_is_timed_beside_it(run: Run) -> None:
    _, workers = run(made_spec(budget={"cells": 20, "remeasure": 0, "min_gain": 0}))
    timings = [call for call in workers.ran if call.stage == "latency"]
    assert "reference" not in timings[0].inputs
    assert all("reference" in call.inputs for call in timings[1:])


def test_a_baseline_that_was_timed_on_a_slow_machine_does_not_slow_the_figures_of_all_others(
    run: Run, tmp_path: Path
) -> None:
    listener, _ = run(
        made_spec(budget={"cells": 40, "remeasure": 0, "min_gain": 0}),
        speed=lambda number: 0.5 if number == 1 else 1.0,
    )
    latest = {record["cell"]: CellRecord.from_json(record) for record in lines(tmp_path)}
    assert len(latest) == 40
    for record in latest.values():
        assert record.value("latency_ms") == pytest.approx(lawful(record.config.params(), 0))
    assert [note for note in listener.notes if "judged anew" in note] == [
        "the machine is faster than when the baseline was timed: it takes 8 ms, and all cells are judged anew by that"
    ]


def test_a_slow_phase_later_on_changes_nothing(run: Run, tmp_path: Path) -> None:
    run(
        made_spec(budget={"cells": 40, "remeasure": 0, "min_gain": 0}),
        speed=lambda number: 0.7 if 10 < number < 20 else 1.0,
    )
    records = [CellRecord.from_json(record) for record in lines(tmp_path)]
    assert len(records) == 40
    for record in records:
        assert record.value("latency_ms") == pytest.approx(lawful(record.config.params(), 0))
