"""The stages of a candidate, and the key under which each one's result is found again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from litefront.objectives import runner
from litefront.objectives.devices import DeviceFacts
from litefront.objectives.timing import Timing
from litefront.search.digests import digest_of_json, digest_of_path
from litefront.search.store import StageRecord
from litefront.search.task_loading import LoadedTask
from litefront.spaces.base_model import ModelFormat
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.sparsity import Pattern, Sparsity, pruning_path
from litefront.spaces.storage import Storage

__all__ = ["STAGES", "Look", "Reference", "StageCall", "StageCalls"]

STAGES = (
    "base",
    "pruned",
    "clustered",
    "quantization_aware",
    "float_tflite",
    "sensitivity",
    "quantized",
    "reference",
    "screening",
    "accuracy",
    "latency",
)
"""Every stage, in the order of a candidate's life."""

# Raised when a stage's own code comes to give another result for the same inputs.
_REVISIONS = dict.fromkeys(STAGES, 1) | {"screening": 2, "accuracy": 3, "latency": 2}

# The tools whose versions can change a stage's result.
_KERAS = ("tensorflow", "tf-keras", "keras")
_COMPRESSION = (*_KERAS, "tensorflow-model-optimization")
_QUANTIZER = ("ai-edge-quantizer", "ai-edge-litert")
_TOOLS = {
    "base": _KERAS,
    "pruned": _COMPRESSION,
    "clustered": _COMPRESSION,
    "quantization_aware": _COMPRESSION,
    "float_tflite": _KERAS,
    "sensitivity": _QUANTIZER,
    "quantized": _QUANTIZER,
    "converted": _COMPRESSION,
}


@dataclass(frozen=True)
class StageCall:
    """One run of a stage, fully described.

    Attributes:
        stage: The stage's name.
        params: What it does, as plain JSON values.
        inputs: Digests of the objects that it reads, by name.
        depends_on: What else its result depends on: digests of code and data, versions of tools, the device.
        leases_device: Whether it must run with nothing beside it on its device.
    """

    stage: str
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    depends_on: Mapping[str, Any] = field(default_factory=dict)
    leases_device: bool = False

    @cached_property
    def key(self) -> str:
        """Digest of everything above."""
        return digest_of_json(
            [self.stage, _REVISIONS[self.stage], dict(self.params), dict(self.inputs), dict(self.depends_on)]
        )


@dataclass(frozen=True)
class Reference:
    """The model that is timed between the rounds of every other, so that a slow machine is not taken for a slow model.

    Attributes:
        tflite: Digest of its file.
        config: How it is run.
    """

    tflite: str
    config: DeploymentConfig

    def execution(self) -> dict[str, Any]:
        """How the runner loads it."""
        return {"delegate": self.config.delegate.value, "num_threads": self.config.num_threads}


@dataclass(frozen=True)
class Look:
    """A part of the evaluation rows that candidates are screened on.

    Attributes:
        inputs: Digest of its inputs in the store (`.npy`, or `.npz` of several).
        first: Where it begins in the order of screening.
        last: Where it ends there, exclusive: the rows that have been seen after it.
    """

    inputs: str
    first: int
    last: int


class StageCalls:
    """Makes the calls of one study's stages.

    Args:
        loaded: The task and its digests.
        device: The device that measures.
        evaluation_inputs: Digest of the evaluation inputs in the store (`.npy`, or `.npz` of several).
        evaluation_labels: Digest of the labels there; None without labels.
        sparsities: All sparsities of the study's space; which one a pruning continues from follows from them alone.
        timing: How candidates are timed.
        mixed_max_drop: What mixed precision may lose of the agreement with the float model, on calibration rows.
        looks: The parts of the evaluation rows that candidates may be screened on, in order.
        conversion: What of the task a conversion depends on, beside the model: `row_shapes` of the inputs, and the
            `signature` of a SavedModel.
    """

    def __init__(
        self,
        loaded: LoadedTask,
        device: DeviceFacts,
        *,
        evaluation_inputs: str,
        evaluation_labels: str | None,
        sparsities: Collection[Sparsity],
        timing: Timing,
        mixed_max_drop: float = 0.01,
        looks: Sequence[Look] = (),
        conversion: Mapping[str, Any] | None = None,
    ) -> None:
        self._loaded = loaded
        self._device = device.identity() | {"runner": digest_of_path(Path(runner.__file__))}
        self._delegates = device.delegates
        self.evaluation_inputs = evaluation_inputs
        self._evaluation_labels = evaluation_labels
        self._sparsities = sparsities
        self._timing = timing
        self._mixed_max_drop = mixed_max_drop
        self.looks = tuple(looks)
        self._conversion = dict(conversion or {})

    def identity(self) -> dict[str, Any]:
        """All that a cell's figures depend on beside its configuration and the base model."""
        return {
            "training": self._loaded.training_digest,
            "representative": self._loaded.representative_digest,
            "metric": self._loaded.metric_digest,
            "evaluation": [self.evaluation_inputs, self._evaluation_labels],
            "device": self._device,
            "delegates": {name: facts.implementation for name, facts in self._delegates.items()},
            "timing": self._timing.to_json(),
            "continued": self._continued(),
            "channel_pruning": asdict(self._loaded.task.channel_pruning),
            "mixed_max_drop": self._mixed_max_drop,
            "tools": {stage: _tools(stage)["tools"] for stage in _TOOLS},
        }

    def base(self) -> StageCall:
        """The trained model, in a format that later stages take."""
        seed = self._loaded.task.fine_tuning.seed
        return StageCall("base", {"seed": seed}, depends_on=_tools("base") | {"model": self._loaded.model_digest})

    def pruning_path(self, sparsity: Sparsity) -> list[tuple[float, float]]:
        """The prunings that lead from the base model to a sparsity, as pairs of levels: from and to."""
        continued = self._loaded.task.fine_tuning.continued_epochs is not None
        return pruning_path(sparsity, self._sparsities, continued=continued)

    def pruned(self, base: StageRecord, model: StageRecord, sparsity: Sparsity, from_level: float = 0.0) -> StageCall:
        """A model pruned to a sparsity and fine-tuned.

        Args:
            base: The float model, which may teach.
            model: What is pruned: the same, or one that is pruned to `from_level`.
            sparsity: Where it ends.
            from_level: Where it starts.
        """
        epochs = self._loaded.task.fine_tuning.continued_epochs
        continued: dict[str, Any] = {"from_level": from_level, "epochs": epochs} if from_level else {}
        if sparsity.pattern is Pattern.CHANNEL:
            continued["channel_pruning"] = asdict(self._loaded.task.channel_pruning)
        return self._trained("pruned", base, model, {"sparsity": sparsity.value} | continued)

    def clustered(self, base: StageRecord, model: StageRecord, config: DeploymentConfig) -> StageCall:
        """A model whose weights take few distinct values, fine-tuned; zeros of a pruned one stay."""
        params = {"clusters": config.clusters, "preserves_sparsity": config.sparsity.leaves_zeros}
        return self._trained("clustered", base, model, params)

    def quantization_aware(self, base: StageRecord, model: StageRecord, config: DeploymentConfig) -> StageCall:
        """A model that is trained with static int8 in view; what was made of its weights before stays."""
        return self._trained("quantization_aware", base, model, {"preserves": _preserved(config)})

    def _trained(self, stage: str, base: StageRecord, model: StageRecord, params: Mapping[str, Any]) -> StageCall:
        """A stage that trains a model further; a `.tflite` cannot be trained, so no data is in its key."""
        made_of = {"format": model.facts["format"]} | dict(params)
        inputs = {"model": model.objects["model"]}
        if model.facts["format"] == ModelFormat.TFLITE:
            return StageCall(stage, made_of, inputs, _tools(stage))
        if self._loaded.task.fine_tuning.distillation:
            made_of["teacher_format"] = base.facts["format"]
            inputs["teacher"] = base.objects["model"]
        return StageCall(stage, made_of, inputs, _tools(stage) | {"training": self._loaded.training_digest})

    def float_tflite(self, model: StageRecord, batch_size: int) -> StageCall:
        """The float `.tflite` of a model at a batch size."""
        return StageCall(
            "float_tflite",
            {"batch_size": batch_size, "format": model.facts["format"]} | self._conversion,
            {"model": model.objects["model"]},
            _tools("float_tflite"),
        )

    def sensitivity(self, float_tflite: StageRecord, config: DeploymentConfig) -> StageCall:
        """How much static int8 of each operator alone moves the answers."""
        params, depends_on = self._calibration(config)
        tflite = {"tflite": float_tflite.objects["tflite"]}
        return StageCall("sensitivity", params, tflite, _tools("sensitivity") | depends_on)

    def quantized(
        self, float_tflite: StageRecord, config: DeploymentConfig, sensitivity: StageRecord | None = None
    ) -> StageCall:
        """The `.tflite` that ships, with what was counted in it.

        Args:
            float_tflite: What it is made of.
            config: How.
            sensitivity: Tells which operators lose most, for a quantization that asks.
        """
        params, depends_on = self._calibration(config)
        inputs = {"tflite": float_tflite.objects["tflite"]}
        if sensitivity is not None:
            inputs["sensitivity"] = sensitivity.objects["sensitivity"]
            params |= {"max_drop": self._mixed_max_drop}
        if config.storage is Storage.SPARSE:
            params |= {"storage": config.storage.value}
        return StageCall(
            "quantized", {"quantization": config.quantization.value} | params, inputs, _tools("quantized") | depends_on
        )

    def converted(self, model: StageRecord, config: DeploymentConfig) -> StageCall:
        """The `.tflite` that the converter makes of a model trained for quantization, with what was counted in it."""
        params = {
            "quantization": config.quantization.value,
            "batch_size": config.batch_size,
            "format": model.facts["format"],
            "preserves": _preserved(config),
        }
        return StageCall("quantized", params, {"model": model.objects["model"]}, _tools("converted"))

    def _calibration(self, config: DeploymentConfig) -> tuple[dict[str, Any], dict[str, Any]]:
        """How activations are calibrated, as params, and on what."""
        if not config.quantization.is_calibrated:
            return {}, {}
        params = {"calibration": config.calibration.value, "calibration_rows": config.calibration_rows}
        return params, {"representative": self._loaded.representative_digest}

    def reference(self, quantized: StageRecord, config: DeploymentConfig) -> StageCall:
        """The float model's own answers, which every candidate's are compared with."""
        return StageCall(
            "reference", self._execution(config), self._on_evaluation_rows(quantized), self._executor(config)
        )

    def accuracy(self, quantized: StageRecord, config: DeploymentConfig, reference: StageRecord) -> StageCall:
        """The score of a `.tflite` on the evaluation rows."""
        return StageCall(
            "accuracy",
            self._execution(config),
            self._on_evaluation_rows(quantized)
            | {"labels": self._labels(reference), "float_outputs": reference.objects["outputs"]},
            self._executor(config) | {"metric": self._loaded.metric_digest},
        )

    def screening(
        self,
        quantized: StageRecord,
        config: DeploymentConfig,
        reference: StageRecord,
        look: Look,
        *,
        baseline_scores: str,
    ) -> StageCall:
        """The scores of a `.tflite` beside the baseline's on a part of the evaluation rows."""
        return StageCall(
            "screening",
            self._execution(config) | {"first": look.first, "last": look.last},
            {
                "tflite": quantized.objects["tflite"],
                "rows": look.inputs,
                "labels": self._labels(reference),
                "float_outputs": reference.objects["outputs"],
                "baseline_scores": baseline_scores,
            },
            self._executor(config) | {"metric": self._loaded.metric_digest},
        )

    def latency(
        self, quantized: StageRecord, config: DeploymentConfig, reference: Reference | None = None, attempt: int = 0
    ) -> StageCall:
        """The timing of a `.tflite` on the device, alone; each attempt is a timing of its own.

        Args:
            quantized: What is timed.
            config: How it is run.
            reference: What is timed beside it; None for the reference itself.
            attempt: Counts the timings of the same candidate, from 0.
        """
        timing = self._timing.of_attempt(attempt)
        beside = {"reference": reference.execution()} if reference else {}
        return StageCall(
            "latency",
            self._execution(config)
            | {"num_threads": config.num_threads, "timing": timing.to_json(), "attempt": attempt}
            | beside,
            self._on_evaluation_rows(quantized) | ({"reference": reference.tflite} if reference else {}),
            self._executor(config),
            leases_device=True,
        )

    def _continued(self) -> list[Any]:
        """The prunings that start from a pruned model: which ones there are changes with the space."""
        paths = [path for sparsity in sorted(self._sparsities) if len(path := self.pruning_path(sparsity)) > 1]
        return [self._loaded.task.fine_tuning.continued_epochs, paths] if paths else []

    def _executor(self, config: DeploymentConfig) -> dict[str, Any]:
        """What runs a file: the device, and the delegate where that is not part of the device's runtime."""
        facts = self._delegates.get(config.delegate)
        return self._device | ({"implementation": facts.implementation} if facts and facts.implementation else {})

    def _execution(self, config: DeploymentConfig) -> dict[str, Any]:
        # Threads do not change answers; only the latency stage puts their number in.
        return {"delegate": config.delegate.value, "num_threads": 1}

    def _labels(self, reference: StageRecord) -> str:
        """What answers are scored against; without labels, the float model's own."""
        return self._evaluation_labels or reference.objects["outputs"]

    def _on_evaluation_rows(self, quantized: StageRecord) -> dict[str, str]:
        return {"tflite": quantized.objects["tflite"], "rows": self.evaluation_inputs}


def _preserved(config: DeploymentConfig) -> str | None:
    """What weights have from before that must last while they are trained for quantization."""
    if config.clusters:
        return "clusters"
    return "sparsity" if config.sparsity.leaves_zeros else None


@cache
def _version(tool: str) -> str:
    # Looking it up reads files, each time.
    return version(tool)


def _tools(stage: str) -> dict[str, Any]:
    return {"tools": {tool: _version(tool) for tool in _TOOLS[stage]}}
