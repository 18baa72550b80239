"""Whole studies, run for real on a tiny model: what is found, what is kept, and what happens when things go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.front import hypervolume, pareto_front
from litefront.search.ledger import gate_savings, totals_by_stage
from litefront.search.outputs import front_text
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.stage_calls import StageCall
from litefront.search.study_file import StudyFile
from litefront.search.study_results import StudyContext, StudyResults
from litefront.search.study_run import RunOptions, run_study
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.errors import InputError
from litefront.spaces.sparsity import Sparsity
from tests.search.tiny_study import SHORT_TIMING, TASK, write_study

SERIAL = RunOptions(serial=True, timing=SHORT_TIMING)


class Listener:
    """Notes what a run tells."""

    def __init__(self) -> None:
        self.target = 0
        self.stages: list[str] = []
        self.cells: list[CellRecord] = []
        self.notes: list[str] = []
        self.signals: list[int] = []

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None:
        self.target = target

    def stage_started(self, call: StageCall) -> None:
        self.stages.append(call.stage)

    def cell_finished(self, record: CellRecord) -> None:
        self.cells.append(record)

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def stopped(self, signal_number: int) -> None:
        self.signals.append(signal_number)


def run(study: StudyFile, folder: Path, options: RunOptions = SERIAL) -> tuple[StudyResults, Listener]:
    listener = Listener()
    return run_study(study, RunDirectory(folder), listener, options), listener


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFile, StudyResults, Listener]:
    """The tiny study's 8 cells, all measured."""
    folder = tmp_path_factory.mktemp("finished")
    study = write_study(folder / "study", load={"samples_per_s": 5})
    return study, *run(study, folder / "run")


Finished = tuple[StudyFile, StudyResults, Listener]


def test_a_small_space_is_measured_whole_baseline_first(finished: Finished) -> None:
    _, results, listener = finished
    assert listener.target == len(results.measured) == 8
    assert results.records[0].config == BASELINE
    assert len({record.cell for record in results.records}) == 8


def test_every_cell_has_every_figure_with_its_provenance(finished: Finished) -> None:
    for record in finished[1].measured:
        assert set(record.figures) == {
            *("accuracy", "size_bytes", "download_bytes", "latency_ms", "latency_p90_ms", "throughput_per_s"),
            *("churn", "cold_start_ms", "memory_bytes", "energy_mj", "power_mw"),
        }
        modelled = {name for name, figure in record.figures.items() if figure.provenance == "modelled"}
        assert modelled == {"energy_mj", "power_mw"}
        assert all(figure.source and figure.unit for figure in record.figures.values())


def test_each_stage_runs_once_and_the_rest_are_hits(finished: Finished) -> None:
    totals = totals_by_stage(finished[1].ledger)
    runs = {stage: entry.runs for stage, entry in totals.items()}
    assert runs.pop("latency") >= 8  # a noisy timing is taken again, as a stage of its own
    # 2 sparsities, each at 2 batch sizes, each with 2 quantizations
    assert runs == {"base": 1, "pruned": 1, "float_tflite": 4, "quantized": 8, "reference": 1, "accuracy": 8}
    assert all(entry.repeated == 0 for entry in totals.values())


def test_the_sparsity_that_was_asked_for_is_in_the_file(finished: Finished) -> None:
    for record in finished[1].measured:
        assert record.facts["prunable_sparsity"] >= record.config.sparsity.level - 0.01
        assert record.facts["quantized_share"] == 1.0


def test_the_front_is_not_empty_and_covers_more_than_the_baseline(finished: Finished) -> None:
    _, results, _ = finished
    front = pareto_front(results.measured, results.spec.chosen_objectives())
    assert results.baseline is not None
    alone = hypervolume([results.baseline], results.baseline, results.spec)
    assert hypervolume(front, results.baseline, results.spec) > alone == 1.0


def test_the_same_command_again_runs_nothing(finished: Finished) -> None:
    study, results, _ = finished
    again, listener = run(study, results.directory.path)
    assert listener.stages == []
    assert listener.cells == []
    assert again.records == results.records


def test_a_larger_space_reuses_what_is_there(finished: Finished, tmp_path: Path) -> None:
    study, results, _ = finished
    larger = write_study(
        study.folder,
        load={"samples_per_s": 5},
        space={"sparsity": [0.0], "quantization": ["float32", "int8", "dynamic_int8"], "batch_size": [1, 4]},
    )
    again, listener = run(larger, results.directory.path)
    assert {record.config.quantization.value for record in listener.cells} == {"dynamic_int8"}
    assert set(listener.stages) == {"quantized", "accuracy", "latency"}
    assert len(again.measured) == 6  # the pruned ones are out of this space
    write_study(study.folder, load={"samples_per_s": 5})


def test_runs_that_share_a_folder_for_artifacts_do_the_work_once(finished: Finished, tmp_path: Path) -> None:
    study, _, _ = finished
    shared = RunOptions(serial=True, timing=SHORT_TIMING, store=str(tmp_path / "shared"))
    first, listener = run(study, tmp_path / "first", shared)
    assert "latency" in listener.stages
    second, listener = run(study, tmp_path / "second", shared)
    assert listener.stages == []
    figures = [{record.config: record.figures for record in results.measured} for results in (first, second)]
    assert figures[0] == figures[1]
    with pytest.raises(InputError, match="A run keeps its artifacts where it began to"):
        run(study, tmp_path / "first", RunOptions(serial=True, store=str(tmp_path / "other")))


def test_artifacts_rest_at_a_url_for_runs_that_share_nothing_else(finished: Finished, tmp_path: Path) -> None:
    study, _, _ = finished
    resting = RunOptions(serial=True, timing=SHORT_TIMING, store=f"file://{tmp_path}/rest")
    run(study, tmp_path / "first", resting)
    second, listener = run(study, tmp_path / "second", resting)
    assert listener.stages == []
    assert len(second.measured) == 8


def test_trials_can_be_kept_in_a_database(finished: Finished, tmp_path: Path) -> None:
    study, results, _ = finished
    url = f"sqlite:///{tmp_path}/trials.db"
    shutil.copytree(results.directory.path, tmp_path / "run")
    run(study, tmp_path / "run", RunOptions(serial=True, timing=SHORT_TIMING, storage=url))
    (name,) = optuna.get_all_study_names(url)
    trials = optuna.load_study(study_name=name, storage=url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8


def test_another_seed_of_the_sampler_trains_nothing_again(finished: Finished) -> None:
    study, results, _ = finished
    _, listener = run(write_study(study.folder, load={"samples_per_s": 5}, seed=1), results.directory.path)
    assert listener.stages == []
    write_study(study.folder, load={"samples_per_s": 5})


def test_a_higher_sparsity_continues_from_the_lower_one_where_the_task_says_so(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study",
        task=TASK.replace("epochs=2, batch_size=16", "epochs=2, batch_size=16, continued_epochs=1"),
        space={"sparsity": [0.75, 0.0, 0.5]},
        budget={"cells": 3},
    )
    results, _ = run(study, tmp_path / "run")
    started_from = {record.config.sparsity.level: record.facts.get("pruned_from_level") for record in results.measured}
    assert started_from == {0.0: None, 0.5: 0.0, 0.75: 0.5}
    assert all(record.facts["prunable_sparsity"] >= record.config.sparsity.level - 0.01 for record in results.measured)
    assert totals_by_stage(results.ledger)["pruned"].runs == 2


def test_another_gate_judges_the_cells_anew_without_measuring_again(finished: Finished) -> None:
    study, results, _ = finished
    gated = write_study(study.folder, load={"samples_per_s": 5}, gates={"max_accuracy_drop": 1.0})
    _, listener = run(gated, results.directory.path)
    assert listener.stages == []
    assert len(listener.cells) == 8
    write_study(study.folder, load={"samples_per_s": 5})


WORSE = (
    TASK.replace("training=rows(96, 0)", "training=Dataset(rows(96, 0).inputs, (np.arange(96) + 1) % 3)")
    .replace("model.fit(task.training.inputs, task.training.labels", "model.fit(rows(96, 0).inputs, np.arange(96) % 3")
    .replace("epochs=2, batch_size=16", "epochs=8, batch_size=16, learning_rate=0.02")
    .replace("evaluation=rows(60, 1)", "evaluation=rows(800, 1)")
)
"""The tiny task with enough rows to screen on; what is pruned is fine-tuned on wrong labels."""


def test_a_candidate_below_the_gate_never_reaches_the_device(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study",
        task=WORSE,
        space={"sparsity": [0.0, 0.5]},
        gates={"max_accuracy_drop": 0.05},
    )
    results, _ = run(study, tmp_path / "run")
    (rejected,) = [record for record in results.records if record.state is CellState.REJECTED]
    assert rejected.config.sparsity == Sparsity(0.5)
    assert "below the baseline" in str(rejected.reason)
    assert rejected.violation > 0
    assert "latency" not in rejected.stages
    assert set(rejected.figures) == {"accuracy", "churn", "size_bytes", "download_bytes"}
    assert totals_by_stage(results.ledger)["accuracy"].runs == 2


@pytest.fixture
def always_screening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model answers its rows at once; so that it is screened, this is taken to be long."""
    monkeypatch.setattr("litefront.search.screening.WORTHWHILE_S", 0.0)


@pytest.mark.usefixtures("always_screening")
def test_a_hopeless_candidate_ends_on_a_part_of_the_rows(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"space": {"sparsity": [0.0, 0.5], "batch_size": [1, 4]}}
    study = write_study(tmp_path / "study", task=WORSE, gates={"max_accuracy_drop": 0.05}, **keys)
    results, listener = run(study, tmp_path / "run")
    rejected = [record for record in results.records if record.state is CellState.REJECTED]
    assert [record.config.sparsity for record in rejected] == [Sparsity(0.5), Sparsity(0.5)]
    for record in rejected:
        assert record.rejected_by == "accuracy"
        assert "on 100 rows" in str(record.reason) and "the gate allows 0.05" in str(record.reason)
        figure = record.figures["accuracy"]
        assert figure.source == "top1 on 100 of 800 rows" and figure.interval is not None
        assert record.violation > 0.05
        assert not {"accuracy", "latency"} & record.stages.keys()
    # The baseline is what the others are screened against; the other float cell looks once or twice, then at all rows.
    runs = {stage: totals.runs for stage, totals in totals_by_stage(results.ledger).items()}
    assert runs["accuracy"] == len(results.measured) == 2
    assert 3 <= runs["screening"] <= 4
    (spared,) = gate_savings(results.records, results.ledger).values()
    assert (spared.rejected, spared.stages) == (2, 4)

    # The same looks are judged by another gate without being taken again; what it lets pass is run on all rows.
    wide = write_study(study.folder, task=WORSE, gates={"max_accuracy_drop": 1.0}, **keys)
    again, listener = run(wide, tmp_path / "run")
    assert listener.stages.count("screening") == 0
    assert listener.stages.count("accuracy") == 2
    assert len(again.measured) == 4
    # And what is known of all rows is never screened.
    narrow = write_study(study.folder, task=WORSE, gates={"max_accuracy_drop": 0.04}, **keys)
    last, listener = run(narrow, tmp_path / "run")
    assert listener.stages == []
    assert {record.figures["accuracy"].source for record in last.records} == {"top1 on 800 rows"}


@pytest.mark.usefixtures("always_screening")
def test_a_candidate_is_screened_by_fidelity_too(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study",
        task=WORSE.replace("fine_tuning=", "metric='argmax_agreement', fine_tuning="),
        space={"sparsity": [0.0, 0.5]},
        gates={"max_accuracy_drop": 0.05},
    )
    results, _ = run(study, tmp_path / "run")
    (rejected,) = [record for record in results.records if record.state is CellState.REJECTED]
    assert rejected.figures["accuracy"].source == "argmax_agreement on 100 of 800 rows against the float model"
    assert rejected.figures["accuracy"].unit == "fidelity"


@pytest.mark.usefixtures("always_screening")
@pytest.mark.parametrize(
    ("change", "gates"),
    [
        (("evaluation=rows(800, 1)", "evaluation=rows(399, 1)"), {"max_accuracy_drop": 0.05}),
        (("fine_tuning=", "metric='macro_f1', fine_tuning="), {"max_accuracy_drop": 0.05}),
        (("", ""), {}),
    ],
    ids=["few rows", "a metric of one number", "no gate"],
)
def test_nothing_is_screened_where_it_cannot_tell(
    change: tuple[str, str], gates: dict[str, float], tmp_path: Path
) -> None:
    study = write_study(
        tmp_path / "study", task=WORSE.replace(*change), space={"quantization": ["float32", "int8"]}, gates=gates
    )
    results, _ = run(study, tmp_path / "run")
    assert totals_by_stage(results.ledger)["accuracy"].runs == 2
    assert "screening" not in totals_by_stage(results.ledger)


def test_nothing_is_screened_where_all_rows_are_answered_at_once(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study",
        task=WORSE,
        space={"quantization": ["float32", "int8"]},
        gates={"max_accuracy_drop": 0.05},
    )
    results, _ = run(study, tmp_path / "run")
    assert "screening" not in totals_by_stage(results.ledger)


def test_a_file_above_its_limit_is_not_even_run_and_the_baseline_passes(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", space={"batch_size": [1, 4]}, gates={"max_size_bytes": 1})
    results, _ = run(study, tmp_path / "run")
    assert [record.config for record in results.measured] == [BASELINE]
    (rejected,) = [record for record in results.records if record.state is CellState.REJECTED]
    assert rejected.rejected_by == "size"
    assert "above the gate's 1 B" in str(rejected.reason)
    assert "accuracy" not in rejected.stages
    (spared,) = gate_savings(results.records, results.ledger).values()
    assert (spared.rejected, spared.stages) == (1, 2)
    assert spared.seconds > 0


def test_a_call_above_its_limit_is_rejected_with_all_its_figures(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", space={"batch_size": [1, 4]}, gates={"max_latency_ms": 1e-9})
    results, _ = run(study, tmp_path / "run")
    (rejected,) = [record for record in results.records if record.state is CellState.REJECTED]
    assert rejected.rejected_by == "latency"
    assert "latency_ms" in rejected.figures


def test_a_load_that_a_cell_cannot_sustain_rejects_it(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", space={"sparsity": [0.0]}, load={"samples_per_s": 1e9})
    results, _ = run(study, tmp_path / "run")
    (record,) = results.records
    assert record.state is CellState.REJECTED
    assert "of the time" in str(record.reason)
    assert results.measured == ()


def test_a_tflite_without_labels_is_searched_by_fidelity(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    _, results, _ = finished
    baseline = next(
        line for line in read_json_lines(results.directory.cells) if line["record"]["config"]["sparsity"] == 0
    )
    from litefront.search.store import ArtifactStore

    store = ArtifactStore(results.directory.store)
    record = store.find("quantized", baseline["record"]["stages"]["quantized"])
    assert record is not None
    (folder / "model.tflite").write_bytes(store.path(record.objects["tflite"]).read_bytes())
    np.savez(
        folder / "data.npz",
        evaluation_inputs=np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32),
        representative_inputs=np.random.default_rng(1).random((20, 8, 8, 1), dtype=np.float32),
    )
    study = _declarative(folder)
    found, _ = run(study, tmp_path / "run")
    assert {record.config.quantization.value for record in found.measured} == {"float32", "int8"}
    assert all("against the float model" in record.figures["accuracy"].source for record in found.measured)
    assert {record.figures["accuracy"].unit for record in found.measured} == {"fidelity"}
    table = front_text(found)
    assert "fidelity (measured)" in table and "accuracy" not in table
    assert found.baseline is not None
    assert found.baseline.value("accuracy") == 1.0
    assert found.context.model["fidelity"] is True
    pruned = [record for record in found.measured if record.config.sparsity]
    assert len(pruned) == len(found.measured) / 2
    assert all(record.facts["prunable_sparsity"] >= 0.5 - 0.01 for record in pruned)
    assert {record.config.batch_size for record in found.measured} == {1, 4}
    assert not found.context.refusals


def _declarative(folder: Path) -> StudyFile:
    from litefront.search.study_file import read_study_file

    (folder / "study.yaml").write_text(
        json.dumps(
            {
                "study": "files",
                "task": {"model": "model.tflite", "data": "data.npz"},
                "space": {"sparsity": [0.0, 0.5], "quantization": ["float32", "int8"], "batch_size": [1, 4]},
            }
        )
    )
    return read_study_file(str(folder))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("model.fit(", "raise RuntimeError('no data today'); model.fit("), r"no data today at task.py:\d+"),
        (
            (
                "    return model\n",
                "    model.layers[0].kernel.assign(model.layers[0].kernel * float('nan'))\n    return model\n",
            ),
            "NaN",
        ),
        (("    return model\n", "    return 'model'\n"), "must give a Keras model"),
        (("Input((8, 8, 1))", "Input((8, 9, 1))"), r"must build the model, but it raised ValueError.* at task.py:\d+"),
        (("fine_tuning=", "metric=lambda outputs, labels: 1 / 0, fine_tuning="), "ZeroDivisionError"),
    ],
    ids=["task raises", "nan weights", "no model", "rows do not fit", "metric raises"],
)
def test_what_the_user_can_mend_ends_the_run_with_its_reason(
    change: tuple[str, str], problem: str, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", task=TASK.replace(*change))
    with pytest.raises(InputError, match=problem):
        run(study, tmp_path / "run")


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    with directory.lock(), pytest.raises(InputError, match="one run at a time"):
        run(study, tmp_path / "run")


def command(study: StudyFile, folder: Path, *options: str) -> subprocess.Popen[str]:
    program = Path(sys.executable).with_name("litefront")
    arguments = [str(program), "run", str(study.path), "--run-dir", str(folder), *options]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_cells(folder: Path, number: int, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    while True:
        lines = read_json_lines(folder / "cells.jsonl")
        if len(lines) >= number:
            return lines
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_killed_run_keeps_its_cells_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    study, folder = write_study(tmp_path / "study"), tmp_path / "run"
    killed = command(study, folder, "--serial")
    before = wait_for_cells(folder, 3, killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    resumed = command(study, folder, "--serial")
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    results = StudyResults.read(RunDirectory(folder))
    assert len(results.measured) == 8
    lines = read_json_lines(folder / "cells.jsonl")
    assert lines[: len(before)] == before
    assert len({line["record"]["cell"] for line in lines}) == len(lines)
    assert all(entry.repeated == 0 for entry in totals_by_stage(results.ledger).values())
    assert "Traceback" not in errors
    assert (folder / "front.json").is_file()
    assert (folder / "report.html").is_file()


def test_on_ray_a_first_signal_ends_the_run_cleanly_and_the_next_run_finishes(tmp_path: Path) -> None:
    study, folder = write_study(tmp_path / "study"), tmp_path / "run"
    stopped = command(study, folder)
    wait_for_cells(folder, 1, stopped)
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 128 + signal.SIGTERM
    assert "the same command goes on from here" in errors
    resumed = command(study, folder)
    output, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    results = StudyResults.read(RunDirectory(folder))
    assert len(results.measured) == 8
    assert all(entry.repeated == 0 for entry in totals_by_stage(results.ledger).values())
    assert "0 run twice" in output
    assert "Traceback" not in errors
