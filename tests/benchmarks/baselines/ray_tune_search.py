"""The search that one would write without litefront: Ray Tune with Optuna, one whole trial a configuration.

What a good engineer writes in an afternoon, with the defaults of Ray Tune: as many trials at once as there are cores,
one core each, every trial on its own. It loads the trained model, prunes, converts, quantizes, scores and times it, and
reports four metrics, which `OptunaSearch` optimises together. The steps are litefront's own functions with the study's
own settings, so that nothing but the search differs. Three things follow from its form:

- each trial is an actor of its own, which imports TensorFlow and does every step again, however often others did;
- its latencies are taken beside the other trials, and so are spoiled: here they only steer its search;
- `OptunaSearch` knows no constraint and repeats configurations.

    ray_tune_search.py STUDY MODEL TRIALS HOURS

searches the study's choices from the trained MODEL (`.keras`) and adds a line a trial to TRIALS (`.jsonl`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from litefront.objectives.accuracy import measure_accuracy
from litefront.objectives.devices import Candidate, HostDevice
from litefront.objectives.latency import busy_cores, measure_latency
from litefront.objectives.power import PowerInputs
from litefront.objectives.size import measure_size
from litefront.objectives.timing import Timing
from litefront.search.study_file import StudyFile, read_study_file
from litefront.search.task import Task
from litefront.search.task_loading import load_task, unpack_task
from litefront.spaces.base_model import BaseModel, ModelFormat, load_keras, save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import quantize
from litefront.spaces.training.fine_tuning import TrainingData
from litefront.spaces.training.magnitude_pruning import prune

MODES = {"accuracy": "max", "download": "min", "latency": "min", "power": "min"}


def evaluate(params: dict[str, Any], packed_task: bytes, model_path: str, samples_per_s: float) -> dict[str, float]:
    """One trial: builds, scores and times one configuration."""
    task, config = unpack_task(packed_task), DeploymentConfig.from_params(params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tflite = folder / "model.tflite"
        tflite.write_bytes(_build(config, task, Path(model_path), folder))
        return _score(tflite, config, task, samples_per_s)


def _build(config: DeploymentConfig, task: Task, model_path: Path, folder: Path) -> bytes:
    model = BaseModel(model_path, ModelFormat.KERAS, task.custom_objects)
    if config.sparsity > 0:
        assert task.training is not None and task.training.labels is not None
        pruned = prune(
            load_keras(model),
            config.sparsity,
            TrainingData(task.training.inputs, task.training.labels, task.loss),
            task.fine_tuning,
        )
        model = replace(save_keras(pruned, folder), custom_objects=task.custom_objects)
    float_tflite = convert(model, config.batch_size)
    return quantize(float_tflite, config.quantization, representative_dataset=task.calibration_rows())


def _score(tflite: Path, config: DeploymentConfig, task: Task, samples_per_s: float) -> dict[str, float]:
    device, rows, outputs = HostDevice(), tflite.with_name("rows.npy"), tflite.with_name("outputs.npy")
    np.save(rows, task.evaluation.inputs)
    assert task.evaluation.labels is not None
    candidate = Candidate(tflite, config)
    device.infer(candidate, rows, outputs)
    accuracy = measure_accuracy(np.load(outputs), task.evaluation.labels, task.scored_by).figure
    sizes = measure_size(tflite.read_bytes())
    reply = device.benchmark(candidate, rows, Timing())
    latency_ms = measure_latency([reply["rounds"]], config.batch_size)["latency_ms"].value
    inputs = PowerInputs(
        quantization=config.quantization,
        batch_size=config.batch_size,
        latency_ms=latency_ms,
        busy_cores=busy_cores([reply["rounds"]]),
        model_bytes=int(sizes["size_bytes"].value),
        last_level_cache_bytes=reply["last_level_cache_bytes"],
    )
    return {
        "accuracy": accuracy.value,
        "download": sizes["download_bytes"].value,
        "latency": latency_ms,
        "power": device.power_model.power(inputs, samples_per_s).value,
    }


class TrialLog(tune.Callback):
    """Writes down when each trial ended, and how.

    Args:
        path: A `.jsonl` file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has reported its metrics."""
        metrics = {name: trial.last_result[name] for name in MODES}
        self._add({"params": trial.config, "metrics": metrics})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has raised."""
        self._add({"params": trial.config, "error": str(trial.get_error())[-300:]})

    def _add(self, line: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time()} | line) + "\n")


def search(study: StudyFile, model: Path, trials: Path, hours: float) -> None:
    """Searches until the time is over."""
    loaded, space = load_task(study), study.spec.space.search_space()
    assert study.spec.load is not None, "power is one of the metrics"
    trainable = tune.with_parameters(
        evaluate,
        packed_task=loaded.packed,
        model_path=str(model.resolve()),
        samples_per_s=study.spec.load.samples_per_s,
    )
    choices = {
        name: tune.choice([getattr(choice, "value", choice) for choice in values])
        for name, values in space.choices.items()
    }
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as results:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=choices,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(metric=list(MODES), mode=list(MODES.values()), seed=study.spec.seed),
                num_samples=-1,
                max_concurrent_trials=os.cpu_count(),
                time_budget_s=hours * 3600,
            ),
            run_config=tune.RunConfig(storage_path=results, verbose=0, callbacks=[TrialLog(trials)]),
        ).fit()


if __name__ == "__main__":
    search(read_study_file(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
