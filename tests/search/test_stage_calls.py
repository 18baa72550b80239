"""Keys: each changes with everything that can change the stage's result, and with nothing else.

Every row of the table is one change of a study; the stages whose keys it may change are written beside it, all others
must keep theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import DelegateFacts, DeviceFacts
from litefront.objectives.timing import Timing
from litefront.search.stage_calls import STAGES, Look, StageCall, StageCalls
from litefront.search.store import StageRecord
from litefront.search.task import Dataset, Task
from litefront.search.task_loading import LoadedTask
from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.training.fine_tuning import FineTuning
from tests.search.records import FLOAT_ANSWERS

LOADED = LoadedTask(
    task=Task(model="model.keras", evaluation=Dataset(np.zeros((1, 2)))),
    model_digest="model",
    training_digest="training",
    representative_digest="representative",
    metric_digest="metric",
    packed=b"",
)
DEVICE = DeviceFacts("host", "processor", "x86_64", 2, "ai-edge-litert 2.3.0")
TIMING = Timing()
CONFIG = DeploymentConfig(
    sparsity=Sparsity(0.5),
    quantization=Quantization.DYNAMIC_INT8,
    delegate=Delegate.XNNPACK,
    num_threads=1,
    batch_size=1,
)


def fine_tuned(**settings: Any) -> LoadedTask:
    return replace(LOADED, task=replace(LOADED.task, fine_tuning=FineTuning(**settings)))


def left(call: StageCall, *names: str, **facts: Any) -> StageRecord:
    """What a stage leaves: objects that differ as its key does."""
    return StageRecord(call.stage, call.key, {name: f"{name} of {call.key}" for name in names}, facts, 1.0)


def calls_of(
    config: DeploymentConfig = CONFIG,
    *,
    loaded: LoadedTask = LOADED,
    device: DeviceFacts = DEVICE,
    sparsities: tuple[float, ...] = (0.0, 0.25, 0.5),  # of single weights
    inputs: str = "inputs",
    labels: str = "labels",
    baseline_scores: str = "scores",
    timing: Timing = TIMING,
) -> dict[str, StageCall]:
    """Every stage call of one cell, each made from what the one before it left."""
    calls = StageCalls(
        loaded,
        device,
        evaluation_inputs=inputs,
        evaluation_labels=labels,
        sparsities=[*map(Sparsity, sparsities)],
        timing=timing,
    )
    base = pruned = calls.base()
    model = float_model = left(base, "model", format="keras")
    for from_level, level in calls.pruning_path(config.sparsity):
        pruned = calls.pruned(float_model, model, Sparsity(level), from_level)
        model = left(pruned, "model", format="keras")
    float_tflite = calls.float_tflite(model, config.batch_size)
    quantized = calls.quantized(left(float_tflite, "tflite"), config)
    file = left(quantized, "tflite")
    made = [
        base,
        pruned,
        calls.clustered(float_model, model, config),
        calls.quantization_aware(float_model, model, config),
        float_tflite,
        calls.sensitivity(left(float_tflite, "tflite"), config),
        quantized,
        calls.reference(file, config),
        calls.screening(
            file, config, FLOAT_ANSWERS, Look(f"part of {inputs}", 0, 100), baseline_scores=baseline_scores
        ),
        calls.accuracy(file, config, FLOAT_ANSWERS),
        calls.latency(file, config),
    ]
    return {call.stage: call for call in made}


def keys_of(*args: Any, **kwargs: Any) -> dict[str, str]:
    return {stage: call.key for stage, call in calls_of(*args, **kwargs).items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {stage for stage in STAGES if before[stage] != after[stage]}


RUN_ON_DEVICE = {"reference", "screening", "accuracy", "latency"}
SCORED = {"screening", "accuracy"}
FROM_QUANTIZED = {"quantized", *RUN_ON_DEVICE}
FROM_FLOAT = {"float_tflite", "sensitivity", *FROM_QUANTIZED}
TRAINED = {"pruned", "clustered", "quantization_aware"}
FROM_PRUNED = {*TRAINED, *FROM_FLOAT}
EVERY_STAGE = set(STAGES)

CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "model": ({"loaded": replace(LOADED, model_digest="other")}, EVERY_STAGE),
    "seed of training": ({"loaded": fine_tuned(seed=1)}, EVERY_STAGE),
    "sparsities": ({"sparsities": (0.5, 0.75)}, set()),
    "continued": ({"loaded": fine_tuned(continued_epochs=1)}, FROM_PRUNED),
    "continued from nothing": (
        {"loaded": fine_tuned(continued_epochs=1), "sparsities": (0.0, 0.5, 0.75)},
        set(),
    ),
    "training data": ({"loaded": replace(LOADED, training_digest="other")}, FROM_PRUNED),
    "representative data": ({"loaded": replace(LOADED, representative_digest="other")}, set()),
    "evaluation inputs": ({"inputs": "other"}, RUN_ON_DEVICE),
    "evaluation labels": ({"labels": "other"}, SCORED),
    "baseline's scores": ({"baseline_scores": "other"}, {"screening"}),
    "metric": ({"loaded": replace(LOADED, metric_digest="other")}, SCORED),
    "packed task": ({"loaded": replace(LOADED, packed=b"other")}, set()),
    "timing": ({"timing": Timing(round_s=0.06)}, {"latency"}),
    "device kind": ({"device": replace(DEVICE, kind="other")}, RUN_ON_DEVICE),
    "processor": ({"device": replace(DEVICE, processor="other")}, RUN_ON_DEVICE),
    "architecture": ({"device": replace(DEVICE, machine="aarch64")}, RUN_ON_DEVICE),
    "runtime": ({"device": replace(DEVICE, runtime="ai-edge-litert 2.4.0")}, RUN_ON_DEVICE),
    "the delegate's own version": (
        {"device": replace(DEVICE, delegates={"xnnpack": DelegateFacts(implementation="other")})},
        RUN_ON_DEVICE,
    ),
    "another delegate's version": (
        {"device": replace(DEVICE, delegates={"gpu": DelegateFacts(implementation="other")})},
        set(),
    ),
    "sparsity": ({"config": replace(CONFIG, sparsity=Sparsity(0.75))}, FROM_PRUNED),
    "batch size": ({"config": replace(CONFIG, batch_size=4)}, FROM_FLOAT),
    "quantization": ({"config": replace(CONFIG, quantization=Quantization.FLOAT16)}, FROM_QUANTIZED),
    "clusters": ({"config": replace(CONFIG, clusters=16)}, {"clustered", "quantization_aware"}),
    "calibration where nothing is calibrated": ({"config": replace(CONFIG, calibration_rows=50)}, set()),
    "teacher": ({"loaded": fine_tuned(distillation=0.5)}, FROM_PRUNED),
    "delegate": ({"config": replace(CONFIG, delegate=Delegate.NONE)}, RUN_ON_DEVICE),
    "threads": ({"config": replace(CONFIG, num_threads=2)}, {"latency"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reaches_exactly_the_keys_that_it_can_matter_to(change: str) -> None:
    changes, expected = CHANGES[change]
    assert changed(keys_of(), keys_of(**changes)) == expected


@pytest.mark.parametrize("quantization", Quantization)
def test_representative_data_matters_to_static_range_only(quantization: Quantization) -> None:
    config = replace(CONFIG, quantization=quantization)
    other = replace(LOADED, representative_digest="other")
    expected = {"sensitivity", *FROM_QUANTIZED} if quantization.is_calibrated else set()
    assert changed(keys_of(config), keys_of(config, loaded=other)) == expected


def test_what_a_pruning_continues_from_and_for_how_long_is_in_its_key() -> None:
    def pruned(epochs: int | None, sparsities: tuple[float, ...] = (0.0, 0.25, 0.5)) -> StageCall:
        return calls_of(loaded=fine_tuned(continued_epochs=epochs), sparsities=sparsities)["pruned"]

    assert pruned(None).params == {"format": "keras", "sparsity": 0.5}
    assert pruned(2).params == {"format": "keras", "sparsity": 0.5, "from_level": 0.25, "epochs": 2}
    assert pruned(2).inputs != pruned(None).inputs
    assert pruned(2, (0.5, 0.25)).key == pruned(2, (0.25, 0.0, 0.5, 0.75)).key  # neither order nor what lies above
    assert len({call.key for call in (pruned(None), pruned(1), pruned(2), pruned(2, (0.3, 0.5)))}) == 4


def test_keys_of_different_stages_differ() -> None:
    assert len(set(keys_of().values())) == len(STAGES)


def test_a_key_depends_on_the_format_of_the_model() -> None:
    calls = StageCalls(LOADED, DEVICE, evaluation_inputs="i", evaluation_labels="l", sparsities=(), timing=TIMING)
    keras, saved = (
        StageRecord("base", "k", {"model": "m"}, {"format": name}, 1.0) for name in ("keras", "saved_model")
    )
    assert calls.float_tflite(keras, 1).key != calls.float_tflite(saved, 1).key


def test_a_conversions_key_depends_on_what_of_the_task_decides_it() -> None:
    def key(**conversion: Any) -> str:
        calls = StageCalls(
            LOADED,
            DEVICE,
            evaluation_inputs="i",
            evaluation_labels="l",
            sparsities=(),
            timing=TIMING,
            conversion={"row_shapes": {"": (8,)}, "signature": "serving_default"} | conversion,
        )
        return calls.float_tflite(StageRecord("base", "k", {"model": "m"}, {"format": "keras"}, 1.0), 1).key

    assert len({key(), key(row_shapes={"": (9,)}), key(signature="other")}) == 3


def test_scoring_against_the_reference_depends_on_its_answers() -> None:
    calls = StageCalls(LOADED, DEVICE, evaluation_inputs="i", evaluation_labels=None, sparsities=(), timing=TIMING)
    file = StageRecord("quantized", "k", {"tflite": "t"}, {}, 1.0)
    one, other = (StageRecord("reference", "k", {"outputs": name}, {}, 1.0) for name in ("one", "other"))
    assert calls.accuracy(file, CONFIG, one).inputs["labels"] == "one"
    assert calls.accuracy(file, CONFIG, one).key != calls.accuracy(file, CONFIG, other).key


def test_each_look_is_a_stage_of_its_own() -> None:
    calls = StageCalls(LOADED, DEVICE, evaluation_inputs="i", evaluation_labels="l", sparsities=(), timing=TIMING)
    file = StageRecord("quantized", "k", {"tflite": "t"}, {}, 1.0)
    looks = [Look("part", 0, 100), Look("part", 100, 200), Look("other part", 0, 100)]
    made = [calls.screening(file, CONFIG, FLOAT_ANSWERS, look, baseline_scores="scores") for look in looks]
    assert len({call.key for call in made}) == 3
    assert made[1].params == {"delegate": "xnnpack", "num_threads": 1, "first": 100, "last": 200}


def test_only_the_timing_leases_the_device() -> None:
    assert {stage for stage, call in calls_of().items() if call.leases_device} == {"latency"}


@pytest.mark.parametrize("stage", ["base", "pruned", "float_tflite", "quantized"])
def test_keys_of_building_stages_hold_the_versions_of_their_tools(stage: str) -> None:
    from importlib.metadata import version

    tools = calls_of()[stage].depends_on["tools"]
    assert tools
    assert tools == {tool: version(tool) for tool in tools}


@pytest.mark.parametrize(
    "changes",
    [
        {"loaded": replace(LOADED, training_digest="other")},
        {"loaded": replace(LOADED, representative_digest="other")},
        {"loaded": replace(LOADED, metric_digest="other")},
        {"inputs": "other"},
        {"labels": "other"},
        {"device": replace(DEVICE, processor="other")},
        {"timing": Timing(round_s=0.06)},
        {"loaded": fine_tuned(continued_epochs=1)},
    ],
)
def test_the_identity_of_a_study_changes_with_what_its_figures_depend_on(changes: dict[str, Any]) -> None:
    def identity(
        sparsities: tuple[float, ...] = (0.25, 0.5),
        loaded: LoadedTask = LOADED,
        device: DeviceFacts = DEVICE,
        inputs: str = "inputs",
        labels: str = "labels",
        timing: Timing = TIMING,
    ) -> dict[str, Any]:
        return StageCalls(
            loaded,
            device,
            evaluation_inputs=inputs,
            evaluation_labels=labels,
            sparsities=[*map(Sparsity, sparsities)],
            timing=timing,
        ).identity()

    assert identity() == identity()
    assert identity(**changes) != identity()
    assert identity(sparsities=(0.25, 0.5, 0.75)) == identity()


def made_by(config: DeploymentConfig, *, max_drop: float = 0.01) -> StageCall:
    """The call of the stage that makes a static int8 file."""
    calls = StageCalls(
        LOADED,
        DEVICE,
        evaluation_inputs="i",
        evaluation_labels="l",
        sparsities=(),
        timing=TIMING,
        mixed_max_drop=max_drop,
    )
    file = StageRecord("float_tflite", "k", {"tflite": "t"}, {}, 1.0)
    sensitivity = StageRecord("sensitivity", "k", {"sensitivity": "s"}, {}, 1.0)
    return calls.quantized(file, config, sensitivity if config.quantization.is_mixed else None)


def test_calibration_is_in_the_key_of_what_is_calibrated() -> None:
    config = replace(CONFIG, quantization=Quantization.INT8)
    others = [replace(config, calibration=Calibration.PERCENTILE), replace(config, calibration_rows=50)]
    assert len({made_by(changed).key for changed in (config, *others)}) == 3


def test_what_mixed_precision_may_lose_is_in_its_key_alone() -> None:
    mixed, whole = (replace(CONFIG, quantization=q) for q in (Quantization.MIXED_INT8, Quantization.INT8))
    assert made_by(mixed).inputs["sensitivity"] == "s"
    assert made_by(mixed).key != made_by(mixed, max_drop=0.05).key
    assert made_by(whole).key == made_by(whole, max_drop=0.05).key


def test_a_tflite_is_pruned_without_training_whatever_the_training_data() -> None:
    file = StageRecord("base", "k", {"model": "m"}, {"format": "tflite"}, 1.0)
    one, other = (
        StageCalls(loaded, DEVICE, evaluation_inputs="i", evaluation_labels="l", sparsities=(), timing=TIMING)
        for loaded in (LOADED, replace(LOADED, training_digest="other"))
    )
    assert one.pruned(file, file, Sparsity(0.5)).key == other.pruned(file, file, Sparsity(0.5)).key


@pytest.mark.parametrize(
    ("sparsity", "clusters", "preserves"),
    [
        (Sparsity(), 0, None),
        (Sparsity(0.5), 0, "sparsity"),
        (Sparsity(0.5, Pattern.CHANNEL), 0, None),
        (Sparsity(0.5), 16, "clusters"),
    ],
)
def test_training_for_quantization_keeps_what_was_made_of_the_weights(
    sparsity: Sparsity, clusters: int, preserves: str | None
) -> None:
    calls = StageCalls(LOADED, DEVICE, evaluation_inputs="i", evaluation_labels="l", sparsities=(), timing=TIMING)
    model = StageRecord("base", "k", {"model": "m"}, {"format": "keras"}, 1.0)
    config = replace(CONFIG, sparsity=sparsity, clusters=clusters, quantization=Quantization.QAT_INT8)
    assert calls.quantization_aware(model, model, config).params["preserves"] == preserves
    assert calls.clustered(model, model, config).params["preserves_sparsity"] == (
        preserves == "sparsity" or clusters > 0
    )
