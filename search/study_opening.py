"""Opens a study: what it turns out to be once it has met its model and its device."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise

from litefront.objectives.devices import DelegateFacts, Device, DeviceFacts
from litefront.objectives.screening import look_ends, row_order
from litefront.objectives.timing import Timing
from litefront.search.digests import digest_of_json
from litefront.search.run_directory import RunDirectory, write_atomically
from litefront.search.scheduler import Scheduler
from litefront.search.stage_calls import Look, StageCalls
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_results import StudyContext
from litefront.search.study_spec import StudySpec
from litefront.search.task import Task
from litefront.search.task_loading import LoadedTask
from litefront.spaces.base_model import ModelFormat
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.errors import InputError
from litefront.spaces.model_refusals import ModelRefusals
from litefront.spaces.quantization import Quantization
from litefront.spaces.rows import Rows, row_count, row_shapes, save_rows, take_rows
from litefront.spaces.sparsity import Pattern

__all__ = ["OpenStudy", "open_study", "write_study"]

_VERSIONED = (
    "litefront",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "optuna",
    "ray",
    "numpy",
)


@dataclass(frozen=True)
class OpenStudy:
    """A study that can be searched.

    Attributes:
        spec: What its file says.
        device: The device that measures.
        calls: Makes its stage calls.
        capabilities: What its model and device allow.
        baseline: The configuration that every other is compared with.
        context: What every command that reads the run is told.
        reference: The float model's own answers, which every candidate's are compared with.
        delegates: What the device found of each delegate, by name.
    """

    spec: StudySpec
    device: Device
    calls: StageCalls
    capabilities: Capabilities
    baseline: DeploymentConfig
    context: StudyContext
    reference: StageRecord
    delegates: Mapping[str, DelegateFacts] = field(default_factory=dict)


def open_study(
    spec: StudySpec,
    loaded: LoadedTask,
    device: Device,
    facts: DeviceFacts,
    *,
    store: ArtifactStore,
    scheduler: Scheduler,
    timing: Timing,
) -> OpenStudy:
    """Builds the base model, and finds out what can be done with it.

    Raises:
        InputError: If the model cannot be built, does not fit its data, or if the study insists on a delegate that is
            not there.
    """
    _check_delegates(spec, facts)
    calls = _stage_calls(spec, loaded, facts, store, timing)
    base = scheduler.run_stage(calls.base())
    baseline = replace(BASELINE, batch_size=base.facts["fixed_batch_size"] or 1)
    float_tflite = scheduler.run_stage(calls.float_tflite(base, baseline.batch_size))
    capabilities = _capabilities(loaded.task, facts, base, float_tflite)
    return OpenStudy(
        spec=spec,
        device=device,
        calls=calls,
        capabilities=capabilities,
        baseline=baseline,
        context=_context(spec, loaded, facts, base, calls, capabilities, baseline),
        reference=_reference(scheduler, calls, float_tflite, baseline),
        delegates=facts.delegates,
    )


def write_study(study: OpenStudy, directory: RunDirectory) -> None:
    """Writes down what the study turned out to be.

    Raises:
        StoreError: If the disk does not take it.
    """
    content = {"spec": study.spec.model_dump(mode="json"), "context": asdict(study.context)}
    write_atomically(directory.study, json.dumps(content, indent=1))


def _check_delegates(spec: StudySpec, facts: DeviceFacts) -> None:
    refusals = facts.refusals()
    missing = [refusals[delegate] for delegate in spec.space.delegate if delegate in refusals]
    if missing and spec.device.missing_delegates == "error":
        raise InputError(f"Every delegate of the space must be there (`missing_delegates: error`), but {missing[0]}.")


def _context(
    spec: StudySpec,
    loaded: LoadedTask,
    facts: DeviceFacts,
    base: StageRecord,
    calls: StageCalls,
    capabilities: Capabilities,
    baseline: DeploymentConfig,
) -> StudyContext:
    space = spec.space.search_space()
    identity = {
        "model": base.objects["model"],
        "calls": calls.identity(),
        "load": spec.load.samples_per_s if spec.load else None,
        "gates": spec.gates.model_dump(),
        "device": spec.device_name,
        # What becomes of a cell whose delegate ran a part of it, or is no accelerator.
        "delegates": [spec.device.partial_delegation, spec.device.software_delegates],
    }
    metric = loaded.task.scored_by
    return StudyContext(
        digest=digest_of_json(identity),
        device=facts.identity(),
        versions={name: version(name) for name in _VERSIONED},
        model={
            "format": base.facts["format"],
            "inputs": base.facts["inputs"],
            "metric": metric if isinstance(metric, str) else getattr(metric, "__name__", "metric"),
            "fidelity": loaded.task.is_fidelity,
            "evaluation_rows": row_count(loaded.task.evaluation.inputs),
            "evaluation_inputs": calls.evaluation_inputs,
        },
        baseline=baseline.params(),
        cells=len(space.cells(capabilities)),
        configurations=space.size(),
        refusals=dict(space.refusals(capabilities)),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _capabilities(task: Task, facts: DeviceFacts, base: StageRecord, float_tflite: StageRecord) -> Capabilities:
    """What the model, its data and the device allow."""
    refusals = ModelRefusals.from_json(base.facts["refusals"])
    trains = base.facts["format"] != ModelFormat.TFLITE
    without_data = task.training_refusal() if trains else None
    return Capabilities(
        cores=facts.cores,
        pruning_refusals=_alike(without_data, Pattern, "sparsity other than 0") | dict(refusals.pruning),
        clustering_refusal=refusals.clustering or (without_data and f"clustering {without_data}"),
        quantization_refusals=_alike(without_data, [Quantization.QAT_INT8], "qat_int8")
        | float_tflite.facts["refusals"]
        | refusals.quantization(),
        calibration_refusal=base.facts["calibration_refusal"] or task.calibration_refusal(),
        fixed_batch_size=base.facts["fixed_batch_size"],
        fixed_batch_reason=base.facts["fixed_batch_reason"],
        delegate_refusals=facts.refusals(),
    )


def _alike(reason: str | None, choices: Iterable[str], what: str) -> dict[str, str]:
    """The same refusal for some choices; none where there is no reason."""
    return {} if reason is None else {str(choice): f"{what} {reason}" for choice in choices}


def _reference(
    scheduler: Scheduler, calls: StageCalls, float_tflite: StageRecord, baseline: DeploymentConfig
) -> StageRecord:
    quantized = scheduler.run_stage(calls.quantized(float_tflite, baseline))
    return scheduler.run_stage(calls.reference(quantized, baseline))


def _stage_calls(
    spec: StudySpec, loaded: LoadedTask, facts: DeviceFacts, store: ArtifactStore, timing: Timing
) -> StageCalls:
    inputs = loaded.task.evaluation.inputs
    labels = None if loaded.task.is_fidelity else loaded.task.scored_labels()
    return StageCalls(
        loaded,
        facts,
        evaluation_inputs=_keep_rows(store, inputs),
        evaluation_labels=None if labels is None else _keep_rows(store, labels),
        sparsities=spec.space.sparsity,
        timing=timing,
        mixed_max_drop=spec.mixed_precision.max_drop,
        looks=_keep_looks(store, inputs) if spec.gates.max_accuracy_drop is not None else (),
        conversion={"row_shapes": row_shapes(inputs), "signature": loaded.task.signature},
    )


def _keep_looks(store: ArtifactStore, inputs: Rows) -> list[Look]:
    """Puts the parts of the evaluation rows that candidates are screened on into the store."""
    order, ends = row_order(row_count(inputs)), look_ends(row_count(inputs))
    return [
        Look(_keep_rows(store, take_rows(inputs, order[first:last])), first, last)
        for first, last in pairwise((0, *ends))
    ]


def _keep_rows(store: ArtifactStore, rows: Rows) -> str:
    """Puts rows into the store, where every process finds them."""
    with store.scratch() as folder:
        return store.add_object(save_rows(rows, folder / "rows"))
