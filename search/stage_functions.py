"""What each stage does, in whichever process it runs."""

from __future__ import annotations

import errno
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.accuracy import accuracy_source, measure_accuracy
from litefront.objectives.churn import measure_churn
from litefront.objectives.devices import Candidate, Device
from litefront.objectives.fidelity import FIDELITY_ROWS, Fidelity
from litefront.objectives.screening import PairedScores, row_order
from litefront.objectives.size import measure_size
from litefront.objectives.timing import Timing
from litefront.search.run_directory import explain_os_error
from litefront.search.stage_calls import StageCall
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.task import Task
from litefront.search.task_loading import explain_user_error
from litefront.spaces.base_model import (
    BaseModel,
    ModelFormat,
    load_keras,
    model_signature,
    non_finite_weights,
    read_model,
    save_keras,
)
from litefront.spaces.batch_size import convert
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError, LitefrontError, StoreError
from litefront.spaces.fine_tuning import TrainingData
from litefront.spaces.magnitude_pruning import prunable_layers, prune
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.tensorflow_environment import seed_everything
from litefront.spaces.tflite_graph import TfliteGraph

__all__ = ["StageDone", "Workplace", "run_stage"]

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """What a process needs to run stages.

    Attributes:
        store: Where inputs come from and results go.
        task: The user's task.
        device: The device that measures.
    """

    store: ArtifactStore
    task: Task
    device: Device


@dataclass(frozen=True)
class StageDone:
    """How one call of a stage ended: with a record, with an error, or with neither, by nobody's fault.

    Attributes:
        call: The call.
        record: What it left; None if it failed.
        error: Why it failed; None if it did not.
        details: The traceback of an error that nobody foresaw, for the log.
        lost: What took the stage away, such as its machine's end; empty if it came to an end of its own.
        began: Whether it ran at all before it was lost.
    """

    call: StageCall
    record: StageRecord | None = None
    error: LitefrontError | None = None
    details: str = ""
    lost: str = ""
    began: bool = True


@dataclass(frozen=True)
class _Output:
    """What a stage function leaves: files in its scratch folder, and facts."""

    files: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_stage(call: StageCall, workplace: Workplace) -> StageDone:
    """Runs one stage and keeps what it leaves; whatever goes wrong comes back as an error of ours."""
    start = time.perf_counter()
    try:
        with workplace.store.scratch() as folder:
            output = _FUNCTIONS[call.stage](call, workplace, folder)
            objects = {name: workplace.store.add_object(path) for name, path in output.files.items()}
        record = StageRecord(call.stage, call.key, objects, dict(output.facts), time.perf_counter() - start)
        workplace.store.add(record)
        return StageDone(call, record)
    except LitefrontError as error:
        return StageDone(call, error=error, details=traceback.format_exc())
    except OSError as error:
        return StageDone(call, error=_blame(error, call, workplace.store), details=traceback.format_exc())
    except Exception as error:
        # The tools of a stage raise whatever their layers raise; it costs the cell that asked, with the reason.
        reason = f"{call.stage}: {explain_user_error(error)}"
        return StageDone(call, error=CandidateError(reason), details=traceback.format_exc())


def _blame(error: OSError, call: StageCall, store: ArtifactStore) -> LitefrontError:
    """The disk's own troubles end the run, since no candidate can be blamed for them."""
    if error.errno in _DISK_ERRORS:
        return StoreError(f"{store.root} cannot be written: {explain_os_error(error)}")
    return CandidateError(f"{call.stage}: {error.strerror or error}")


def _base(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
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
        model = read_model(Path(task.model), folder, task.custom_objects)
    model = BaseModel(model.path, model.format, task.custom_objects)
    if bad := non_finite_weights(model):
        raise InputError(f"The model's weights must be finite, but {bad} of them are NaN or infinite.")
    inputs = model_signature(model)
    _check_rows_fit(task, inputs)
    batch = inputs[0].shape[0]
    refusal = model.pruning_refusal()
    if refusal is None and not prunable_layers(load_keras(model)):
        refusal = "sparsity other than 0 needs a layer whose weights can be pruned, and the model has none"
    facts = {
        "format": model.format.value,
        "inputs": [asdict(spec) | {"shape": list(spec.shape)} for spec in inputs],
        "pruning_refusals": {} if refusal is None else dict.fromkeys(Pattern, refusal),
        # A `.tflite` cannot be converted again: it keeps the batch that it has.
        "fixed_batch_size": max(1, batch) if model.format is ModelFormat.TFLITE else None,
    }
    return _Output({"model": model.path}, facts)


def _check_rows_fit(task: Task, inputs: Any) -> None:
    if len(inputs) != 1:
        raise InputError(f"A model must have one input, but this one has {len(inputs)}.")
    expected, given = inputs[0].shape[1:], task.evaluation.inputs.shape[1:]
    fits = len(expected) == len(given) and all(e in (-1, g) for e, g in zip(expected, given, strict=True))
    if not fits:
        raise InputError(f"A row of the data must have the shape that the model takes, {expected}, but got {given}.")


def _pruned(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    task, training = workplace.task, workplace.task.training
    assert training is not None and training.labels is not None, "the space refuses pruning without training data"
    from_level = call.params.get("from_level", 0.0)
    pruned = prune(
        load_keras(_model(call, workplace, ModelFormat.KERAS)),
        Sparsity.parse(call.params["sparsity"]),
        TrainingData(training.inputs, training.labels, task.loss),
        task.fine_tuning.continued() if from_level else task.fine_tuning,
        from_level=from_level,
    )
    kept = save_keras(pruned, folder)
    return _Output({"model": kept.path}, {"format": kept.format.value})


def _float_tflite(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    model = _model(call, workplace, ModelFormat(call.params["format"]))
    return _kept_tflite(folder, convert(model, call.params["batch_size"]), {})


def _quantized(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    quantization = Quantization(call.params["quantization"])
    float_tflite = workplace.store.path(call.inputs["tflite"]).read_bytes()
    content = quantize(float_tflite, quantization, representative_dataset=workplace.task.calibration_rows())
    counted = TfliteGraph(content).facts(quantization)
    if quantization is not Quantization.FLOAT32 and counted.quantized_share == 0:
        raise CandidateError(f"{quantization} changed nothing: no weight of the model could be quantized")
    sizes = {name: figure.to_json() for name, figure in measure_size(content).items()}
    return _kept_tflite(folder, content, {"counted": asdict(counted), "figures": sizes})


def _reference(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    outputs, _ = _infer(call, workplace, folder)
    return _Output({"outputs": outputs})


def _accuracy(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    outputs, reply = _infer(call, workplace, folder)
    labels = np.load(workplace.store.path(call.inputs["labels"]))
    accuracy = measure_accuracy(np.load(outputs), labels, workplace.task.scored_by, answers=reply.get("answers"))
    counted = _delegation(reply) | _fidelity(call, workplace, folder, np.load(outputs))
    figures = {"accuracy": accuracy.figure}
    churn = measure_churn(np.load(outputs), np.load(workplace.store.path(call.inputs["float_outputs"])))
    if churn is not None:
        figures["churn"] = churn
    facts = {"figures": {name: figure.to_json() for name, figure in figures.items()}, "counted": counted}
    if accuracy.scores is None:
        return _Output(facts=facts)
    np.save(folder / "scores.npy", accuracy.scores)
    return _Output({"scores": folder / "scores.npy"}, facts)


def _screening(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    outputs, reply = _infer(call, workplace, folder)
    labels, baseline = (np.load(workplace.store.path(call.inputs[name])) for name in ("labels", "baseline_scores"))
    first, last = call.params["first"], call.params["last"]
    picked = row_order(len(labels))[first:last]
    metric = workplace.task.scored_by
    accuracy = measure_accuracy(np.load(outputs), labels[picked], metric)
    if accuracy.scores is None:
        raise InputError("The metric must score each row of any rows, but it gave one number for some of them.")
    return _Output(
        facts={
            "paired_scores": asdict(PairedScores.of(accuracy.scores, baseline[picked])),
            "unit": accuracy.figure.unit,
            "source": accuracy_source(metric, f"{last} of {len(labels)} rows", reply.get("answers")),
            "counted": _delegation(reply) | _fidelity(call, workplace, folder, np.load(outputs)),
        }
    )


def _delegation(reply: Mapping[str, Any]) -> dict[str, Any]:
    # Who answered stands there where it was not the delegate itself.
    return {name: reply[name] for name in ("delegated_nodes", "nodes", "answered_by") if name in reply}


def _fidelity(call: StageCall, workplace: Workplace, folder: Path, outputs: np.ndarray) -> dict[str, Any]:
    """How a delegate's answers to the first rows differ from the built-in kernels'; nothing for those themselves."""
    candidate = _candidate(call, workplace)
    if candidate.config.delegate is Delegate.NONE:
        return {}
    built_in = replace(candidate, config=replace(candidate.config, delegate=Delegate.NONE))
    rows, expected = folder / "fidelity_rows.npy", folder / "fidelity_outputs.npy"
    np.save(rows, np.load(workplace.store.path(call.inputs["rows"]), mmap_mode="r")[:FIDELITY_ROWS])
    try:
        workplace.device.infer(built_in, rows, expected)
    except CandidateError as error:
        raise CandidateError(f"its answers cannot be compared with the built-in kernels', which {error}") from error
    return {"fidelity": asdict(Fidelity.of(outputs[:FIDELITY_ROWS], np.load(expected)))}


def _latency(call: StageCall, workplace: Workplace, folder: Path) -> _Output:
    candidate, reference = _candidate(call, workplace), None
    if "reference" in call.params:
        config = _config(call.params["reference"])
        reference = Candidate(workplace.store.path(call.inputs["reference"]), config)
    rows, timing = workplace.store.path(call.inputs["rows"]), Timing(**call.params["timing"])
    return _Output(facts=dict(workplace.device.benchmark(candidate, rows, timing, reference)))


_FUNCTIONS: dict[str, Callable[[StageCall, Workplace, Path], _Output]] = {
    "base": _base,
    "pruned": _pruned,
    "float_tflite": _float_tflite,
    "quantized": _quantized,
    "reference": _reference,
    "screening": _screening,
    "accuracy": _accuracy,
    "latency": _latency,
}


def _infer(call: StageCall, workplace: Workplace, folder: Path) -> tuple[Path, Mapping[str, Any]]:
    outputs = folder / "outputs.npy"
    rows = workplace.store.path(call.inputs["rows"])
    return outputs, workplace.device.infer(_candidate(call, workplace), rows, outputs)


def _candidate(call: StageCall, workplace: Workplace) -> Candidate:
    return Candidate(workplace.store.path(call.inputs["tflite"]), _config(call.params))


def _config(execution: Mapping[str, Any]) -> DeploymentConfig:
    """The configuration that a call's params fix; what they leave open does not matter to how a file is run."""
    chosen = {name: execution[name] for name in ("delegate", "num_threads")}
    return DeploymentConfig.from_params(DeploymentConfig().params() | chosen)


def _model(call: StageCall, workplace: Workplace, model_format: ModelFormat) -> BaseModel:
    path = workplace.store.path(call.inputs["model"])
    return BaseModel(path, model_format, workplace.task.custom_objects)


def _kept_tflite(folder: Path, content: bytes, facts: Mapping[str, Any]) -> _Output:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return _Output({"tflite": path}, facts)
