"""What a study file says, checked as a whole: unknown keys and values are errors, and all are reported at once."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    model_validator,
)

from litefront.objectives.catalogue import FIGURES, OBJECTIVES, Objective
from litefront.search.device_spec import BaseDeviceSpec, DeviceSpec, HostSpec
from litefront.spaces.search_space import DIMENSIONS, SearchSpace
from litefront.spaces.training.fine_tuning import FineTuning

__all__ = [
    "BALANCED",
    "Budget",
    "FilesTask",
    "Gates",
    "Load",
    "SamplerName",
    "SpaceSpec",
    "StudySpec",
    "TierSpec",
]

BALANCED = "balanced"
"""The preference that weighs all objectives of the study alike."""


# What a folder can be called anywhere.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


class SamplerName(StrEnum):
    """How the next configuration is chosen."""

    TPE = "tpe"
    NSGA2 = "nsga2"
    NSGA3 = "nsga3"
    RANDOM = "random"
    EXHAUSTIVE = "exhaustive"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _one_of(names: Any, what: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"{what} must be one of {', '.join(names)}, but got {name!r}.")
        return name

    return AfterValidator(check)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"Each entry must stand once, but got {', '.join(repeated)} more than once.")
    return values


def _choices(name: str) -> Any:
    dimension = DIMENSIONS[name]
    # `PlainValidator` leaves the whole check to the dimension, whose message names the rule.
    choice = Annotated[
        Any, PlainValidator(dimension.parse), PlainSerializer(lambda value: getattr(value, "value", value))
    ]
    return Annotated[tuple[choice, ...], Field(default=(dimension.default,), min_length=1), AfterValidator(_distinct)]


class SpaceSpec(_Strict):
    """The choices of each dimension; one that is left out keeps the baseline's."""

    sparsity: _choices("sparsity")  # type: ignore[valid-type]
    clusters: _choices("clusters")  # type: ignore[valid-type]
    quantization: _choices("quantization")  # type: ignore[valid-type]
    calibration: _choices("calibration")  # type: ignore[valid-type]
    calibration_rows: _choices("calibration_rows")  # type: ignore[valid-type]
    storage: _choices("storage")  # type: ignore[valid-type]
    delegate: _choices("delegate")  # type: ignore[valid-type]
    num_threads: _choices("num_threads")  # type: ignore[valid-type]
    batch_size: _choices("batch_size")  # type: ignore[valid-type]

    def search_space(self) -> SearchSpace:
        """The space that these choices span."""
        return SearchSpace({name: getattr(self, name) for name in DIMENSIONS})


class FilesTask(_Strict):
    """A task given by files instead of code.

    Attributes:
        model: A `.keras`, `.h5` or `.tflite` file or a SavedModel folder, relative to the study file.
        data: A `.npz` with `evaluation_inputs`, and as the study needs them `evaluation_labels`,
            `training_inputs`, `training_labels` and `representative_inputs`; each followed by `/NAME` (an input's, or
            for labels an output's) where the model has several.
        metric: A metric's name or import path; by default `top1`, or `argmax_agreement` without labels.
        loss: A Keras loss by name, for fine-tuning.
        epochs: Of fine-tuning after pruning.
        batch_size: Rows a fine-tuning step.
        learning_rate: Of fine-tuning, at its start.
        continued_epochs: As in `FineTuning`, and so are all that follow.
        output: As in `Task`.
        signature: As in `Task`.
    """

    model: str
    data: str
    metric: str | None = None
    loss: str = "sparse_categorical_crossentropy"
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    continued_epochs: int | None = Field(default=None, ge=1)
    distillation: float = Field(default=0.0, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    patience: int = Field(default=2, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)

    def fine_tuning(self) -> FineTuning:
        """How the model is trained further."""
        named = {field.name: getattr(self, field.name) for field in fields(FineTuning) if hasattr(self, field.name)}
        return FineTuning(**named)

    output: str | None = None
    signature: str = "serving_default"


class Load(_Strict):
    """The load that power is estimated for."""

    samples_per_s: float = Field(gt=0)


class Gates(_Strict):
    """What a candidate must hold. Each gate is asked as soon as its figure is there, and ends what comes after it.

    Attributes:
        max_size_bytes: Largest file; asked before the candidate is run at all.
        max_download_bytes: The same of the deflated file.
        max_accuracy_drop: Largest loss against the baseline, in the metric's own unit; asked before the candidate is
            measured on a device.
        max_churn: Largest share of rows that are answered otherwise than by the float model.
        max_latency_ms: Longest call.
    """

    max_size_bytes: float | None = Field(default=None, gt=0)
    max_download_bytes: float | None = Field(default=None, gt=0)
    max_accuracy_drop: float | None = Field(default=None, ge=0)
    max_churn: float | None = Field(default=None, gt=0, lt=1)
    max_latency_ms: float | None = Field(default=None, gt=0)

    def limits(self) -> dict[str, float]:
        """The largest value of each figure that has a gate of its own, by figure."""
        given = {
            "size_bytes": self.max_size_bytes,
            "download_bytes": self.max_download_bytes,
            "churn": self.max_churn,
            "latency_ms": self.max_latency_ms,
        }
        return {figure: limit for figure, limit in given.items() if limit is not None}


class MixedPrecision(_Strict):
    """What quantizations that keep their most fragile operators finer may lose.

    Attributes:
        max_drop: Of the agreement with the float model on the calibration rows, as a fraction.
    """

    max_drop: float = Field(default=0.01, ge=0, lt=1)


class Budget(_Strict):
    """When the search ends.

    Attributes:
        cells: Cells that are built; None for all of the space.
        hours: Wall-clock time of one `run`; None for no limit.
        min_gain: The search ends when the latest quarter of its cells added less than this share of the hypervolume;
            0 never ends it. A space that the budget covers is finished.
        remeasure: Measurements that are spent at the end on cells whose place on the front noise decides, as a share
            of the measured cells.
    """

    cells: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    min_gain: float = Field(default=0.001, ge=0, lt=1)
    remeasure: float = Field(default=0.5, ge=0)


class TierSpec(_Strict):
    """A class of devices that a release ships to, and how its cell is picked.

    Attributes:
        device: The device that stands for it.
        where: Choices that the tier allows, by dimension.
        limits: Figures that must hold: at most for what is better low, at least for what is better high.
        samples_per_s: The tier's own load; None for the study's.
        prefer: The objective that decides, or `balanced` for all of them alike.
        within: Cells this close to the best in the preferred figure count as equally good; the others decide then.
    """

    device: str
    where: dict[Annotated[str, _one_of(DIMENSIONS, "A dimension")], tuple[Any, ...]] = Field(default_factory=dict)
    limits: dict[Annotated[str, _one_of(FIGURES, "A limit")], float] = Field(default_factory=dict)
    samples_per_s: float | None = Field(default=None, gt=0)
    prefer: Annotated[str, _one_of((*OBJECTIVES, BALANCED), "`prefer`")] = BALANCED
    within: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _parse_where(self) -> TierSpec:
        parsed: dict[str, tuple[Any, ...]] = {}
        problems = []
        for name, values in self.where.items():
            try:
                parsed[name] = tuple(DIMENSIONS[name].parse(value) for value in values)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError(" ".join(problems))
        object.__setattr__(self, "where", parsed)
        return self


def _this_machine() -> dict[str, DeviceSpec]:
    return {"host": HostSpec()}


class StudySpec(_Strict):
    """A whole study; the attributes are the keys of a study file."""

    # The tags keep the mistakes of one form from being reported as mistakes of the other as well.
    task: Annotated[
        Annotated[str, Tag("file.py:object")] | Annotated[FilesTask, Tag("files")],
        Discriminator(lambda task: "file.py:object" if isinstance(task, str) else "files"),
    ]
    study: str = Field(pattern=f"^{_NAME}$")
    space: SpaceSpec
    objectives: Annotated[
        tuple[Annotated[str, _one_of(OBJECTIVES, "An objective")], ...],
        Field(default=("accuracy", "size", "latency"), min_length=1),
        AfterValidator(_distinct),
    ]
    load: Load | None = None
    gates: Gates = Gates()
    mixed_precision: MixedPrecision = MixedPrecision()
    budget: Budget = Budget()
    sampler: SamplerName = SamplerName.TPE
    seed: int = Field(default=0, ge=0)
    devices: dict[str, DeviceSpec] = Field(default_factory=_this_machine, min_length=1)
    tiers: dict[str, TierSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_together(self) -> StudySpec:
        problems = [
            f"tiers.{name}.device must be one of {', '.join(self.devices)}, but got {tier.device!r}."
            for name, tier in self.tiers.items()
            if tier.device not in self.devices
        ]
        problems += [
            f"A device's name must be one that a folder can have, and not `store`, but got {name!r}."
            for name in self.devices
            if name == "store" or re.fullmatch(_NAME, name) is None
        ]
        if "power" in self.objectives and self.load is None:
            problems.append("The objective power needs `load: {samples_per_s: ...}`, but there is no load.")
        for name, tier in self.tiers.items():
            needs_load = tier.prefer == "power" or "power_mw" in tier.limits
            if needs_load and tier.samples_per_s is None and self.load is None:
                problems.append(f"tiers.{name} decides by power, so it needs `samples_per_s`, but there is no load.")
        if problems:
            raise ValueError(" ".join(problems))
        return self

    def for_device(self, name: str) -> StudySpec:
        """The study as it is for one of its devices: with that one alone, and with the tiers that it stands for."""
        tiers = {tier_name: tier for tier_name, tier in self.tiers.items() if tier.device == name}
        return self.model_copy(update={"devices": {name: self.devices[name]}, "tiers": tiers})

    @property
    def device_name(self) -> str:
        """The device that measures; a study with several is searched for each of them apart, see `for_device`."""
        return next(iter(self.devices))

    @property
    def device(self) -> BaseDeviceSpec:
        """What the study says of the device that measures."""
        return self.devices[self.device_name]

    def chosen_objectives(self) -> tuple[Objective, ...]:
        """The objectives, in the study's order."""
        return tuple(OBJECTIVES[name] for name in self.objectives)
