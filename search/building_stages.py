"""The stages that make a candidate: from the user's model to the `.tflite` that ships."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from litefront.objectives.size import measure_size
from litefront.search.stage_calls import StageCall
from litefront.search.task import Task
from litefront.search.task_fit import calibration_refusal, check_fit, fixed_batch
from litefront.search.task_loading import explain_user_error
from litefront.search.workplace import StageOutput, Workplace
from litefront.spaces.base_model import (
    BaseModel,
    ModelFormat,
    load_keras,
    model_interface,
    non_finite_weights,
    read_model,
    save_keras,
)
from litefront.spaces.batch_size import convert
from litefront.spaces.calibration import Calibration
from litefront.spaces.channel_pruning import prune_channels
from litefront.spaces.clustering import cluster
from litefront.spaces.errors import CandidateError, InputError, LitefrontError
from litefront.spaces.mixed_precision import OperatorSensitivity, fragile_operators, sensitivity
from litefront.spaces.model_interface import ModelInterface
from litefront.spaces.model_refusals import ModelRefusals
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.quantization_support import quantization_refusals
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.storage import Storage
from litefront.spaces.tensorflow_environment import seed_everything
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.pruning import prune_tflite
from litefront.spaces.tflite.sparse_storage import store_sparsely
from litefront.spaces.training.fine_tuning import TrainingData
from litefront.spaces.training.magnitude_pruning import prune
from litefront.spaces.training.quantization_aware_training import (
    convert_quantization_aware,
    float_layers,
    quantization_aware,
    save_quantization_aware,
)

__all__ = ["BUILDING_STAGES"]


def _base(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    task = workplace.task
    if callable(task.model):
        seed_everything(call.params["seed"])
        try:
            built = task.model()
        except (Exception, SystemExit) as error:
            # The user's own code: whatever it raises is theirs to read, and it does not end this process.
            problem = f"The task's `model` must build the model, but it raised {explain_user_error(error)}"
            raise InputError(problem) from error
        model = save_keras(built, folder)
    else:
        model = read_model(Path(task.model), folder, task.custom_objects, task.signature)
    model = replace(model, custom_objects=task.custom_objects)
    interface = _interface(model)
    if bad := non_finite_weights(model):
        raise InputError(f"The model's weights must be finite, but {bad} of them are NaN or infinite.")
    check_fit(task, interface)
    batch_size, reason = fixed_batch(task, model, interface)
    facts = {
        "format": model.format.value,
        "refusals": ModelRefusals.of(model).to_json(),
        "fixed_batch_size": batch_size,
        "fixed_batch_reason": reason,
        "calibration_refusal": calibration_refusal(task, interface),
    } | interface.to_json()
    return StageOutput({"model": model.path}, facts)


def _interface(model: BaseModel) -> ModelInterface:
    """What the kept model takes and gives; a Keras model is loaded for the first time since it was saved."""
    try:
        return model_interface(model)
    except LitefrontError:
        raise
    except Exception as error:
        # A layer of the user's own raises whatever it raises when it is made from what it has saved.
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"The model must load again as it was saved, with your own layers among `custom_objects`, but: {said}"
        ) from error


def _pruned(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    sparsity, model = Sparsity.parse(call.params["sparsity"]), _model(call, workplace)
    if model.format is ModelFormat.TFLITE:
        path = folder / "model.tflite"
        path.write_bytes(prune_tflite(model.path.read_bytes(), sparsity))
        return StageOutput({"model": path}, {"format": model.format.value})
    from_level = call.params.get("from_level", 0.0)
    settings = workplace.task.fine_tuning
    fine_tuning = settings.continued() if from_level else settings
    data, teacher = _training_data(workplace.task), _teacher(call, workplace)
    if sparsity.pattern is Pattern.CHANNEL:
        # Of what is left, so that it comes to the level of the whole.
        share = 1 - (1 - sparsity.level) / (1 - from_level)
        left = prune_channels(
            load_keras(model), share, data, fine_tuning, teacher=teacher, settings=workplace.task.channel_pruning
        )
        return _kept_keras(left.model, folder, {"pruning": left.facts})
    pruned = prune(load_keras(model), sparsity, data, fine_tuning, teacher=teacher, from_level=from_level)
    return _kept_keras(pruned, folder)


def _clustered(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    model = cluster(
        load_keras(_model(call, workplace)),
        call.params["clusters"],
        _training_data(workplace.task),
        workplace.task.fine_tuning,
        teacher=_teacher(call, workplace),
        preserve_sparsity=call.params["preserves_sparsity"],
    )
    return _kept_keras(model, folder)


def _quantization_aware(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    weights = load_keras(_model(call, workplace))
    model = quantization_aware(
        weights,
        _training_data(workplace.task),
        workplace.task.fine_tuning,
        teacher=_teacher(call, workplace),
        preserve=call.params["preserves"],
    )
    kept = save_quantization_aware(model, folder)
    return StageOutput({"model": kept}, {"format": ModelFormat.KERAS.value, "float_layers": float_layers(weights)})


def _training_data(task: Task) -> TrainingData:
    training = task.training
    assert training is not None, "the space refuses what trains without training data"
    return TrainingData(training.inputs, training.labels, task.loss)


def _teacher(call: StageCall, workplace: Workplace) -> Any:
    """The float model, where the task wants it to teach; else None."""
    if "teacher" not in call.inputs:
        return None
    path = workplace.store.path(call.inputs["teacher"])
    model_format = ModelFormat(call.params["teacher_format"])
    return load_keras(BaseModel(path, model_format, workplace.task.custom_objects))


def _float_tflite(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    content = convert(_model(call, workplace), call.params["batch_size"], call.params.get("row_shapes"))
    return _kept_tflite(
        folder, content, {"refusals": {name.value: reason for name, reason in quantization_refusals(content).items()}}
    )


def _sensitivity(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    float_tflite = workplace.store.path(call.inputs["tflite"]).read_bytes()
    calibration = _calibration(call, workplace)
    found = sensitivity(float_tflite, calibration["representative_dataset"], calibration["calibration"])
    path = folder / "sensitivity.json"
    path.write_text(json.dumps([asdict(operator) for operator in found]), encoding="utf-8")
    return StageOutput({"sensitivity": path})


def _quantized(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    quantization = Quantization(call.params["quantization"])
    if "model" in call.inputs:
        model = _model(call, workplace)
        content = convert_quantization_aware(
            model.path,
            call.params["batch_size"],
            preserve=call.params["preserves"],
            custom_objects=dict(model.custom_objects),
        )
        return _counted(folder, content, quantization)
    float_tflite = workplace.store.path(call.inputs["tflite"]).read_bytes()
    calibration = _calibration(call, workplace)
    facts: dict[str, Any] = {}
    fragile: tuple[str, ...] = ()
    if "sensitivity" in call.inputs:
        known = json.loads(workplace.store.path(call.inputs["sensitivity"]).read_text(encoding="utf-8"))
        sensitivities = [OperatorSensitivity(**operator) for operator in known]
        fragile = fragile_operators(
            float_tflite,
            sensitivities,
            calibration["representative_dataset"],
            call.params["max_drop"],
            quantization=quantization,
            calibration=calibration["calibration"],
        )
        facts["fragile"] = list(fragile)
    content = quantize(float_tflite, quantization, fragile=fragile, **calibration)
    if Storage(call.params.get("storage", Storage.DENSE)) is Storage.SPARSE:
        content, stored = store_sparsely(content)
        facts["sparse_storage"] = asdict(stored)
    return _counted(folder, content, quantization, facts)


def _calibration(call: StageCall, workplace: Workplace) -> dict[str, Any]:
    """The rows that activations are calibrated on, and how; nothing where there is nothing to calibrate."""
    if "calibration" not in call.params:
        return {}
    rows = workplace.task.calibration_rows(call.params["calibration_rows"])
    return {"representative_dataset": rows, "calibration": Calibration(call.params["calibration"])}


def _counted(
    folder: Path, content: bytes, quantization: Quantization, facts: Mapping[str, Any] | None = None
) -> StageOutput:
    """Keeps the file that ships, with what was counted in it."""
    counted = TfliteGraph(content).facts(quantization)
    if quantization is not Quantization.FLOAT32 and counted.quantized_share == 0:
        raise CandidateError(f"{quantization} changed nothing: no weight of the model could be quantized")
    sizes = {name: figure.to_json() for name, figure in measure_size(content).items()}
    return _kept_tflite(folder, content, {"counted": asdict(counted) | dict(facts or {}), "figures": sizes})


BUILDING_STAGES: Mapping[str, Callable[[StageCall, Workplace, Path], StageOutput]] = {
    "base": _base,
    "pruned": _pruned,
    "clustered": _clustered,
    "quantization_aware": _quantization_aware,
    "float_tflite": _float_tflite,
    "sensitivity": _sensitivity,
    "quantized": _quantized,
}
"""Each stage's function by its name."""


def _model(call: StageCall, workplace: Workplace) -> BaseModel:
    path, task = workplace.store.path(call.inputs["model"]), workplace.task
    return BaseModel(path, ModelFormat(call.params["format"]), task.custom_objects, task.signature)


def _kept_keras(model: Any, folder: Path, facts: Mapping[str, Any] | None = None) -> StageOutput:
    kept = save_keras(model, folder)
    return StageOutput({"model": kept.path}, {"format": kept.format.value} | dict(facts or {}))


def _kept_tflite(folder: Path, content: bytes, facts: Mapping[str, Any]) -> StageOutput:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return StageOutput({"tflite": path}, facts)
