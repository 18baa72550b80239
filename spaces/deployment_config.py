"""One point of the search space: everything that a release chooses about how a model ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import DENSE, Sparsity
from litefront.spaces.storage import Storage

__all__ = ["BASELINE", "DeploymentConfig"]


@dataclass(frozen=True, order=True)
class DeploymentConfig:
    """How one candidate is built and run.

    Attributes:
        sparsity: Which weights are taken from the model, and how many.
        clusters: Distinct values that the weights of a tensor may take; 0 for any.
        quantization: How weights and activations are stored and computed.
        calibration: How the ranges of activations are found, where they are fixed.
        calibration_rows: On how many rows.
        storage: How weights lie in the file.
        delegate: What executes the graph.
        num_threads: Threads that the delegate may use.
        batch_size: Rows a call takes; static in the graph.
    """

    sparsity: Sparsity = DENSE
    clusters: int = 0
    quantization: Quantization = Quantization.FLOAT32
    calibration: Calibration = Calibration.MIN_MAX
    calibration_rows: int = 200
    storage: Storage = Storage.DENSE
    delegate: Delegate = Delegate.XNNPACK
    num_threads: int = 1
    batch_size: int = 1

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DeploymentConfig:
        """Reads what `params` wrote (plain JSON values), also before there were as many dimensions.

        Raises:
            KeyError: If a dimension is missing.
            ValueError: If a name is no dimension, or a value none of its choices.
        """
        chosen = {name: cls().params()[name] for name in _LATER} | dict(params)
        if unknown := sorted(params.keys() - {field.name for field in fields(cls)}):
            raise ValueError(f"A parameter must be a dimension of the space, but got {', '.join(unknown)}.")
        return cls(
            sparsity=Sparsity.parse(chosen["sparsity"]),
            clusters=int(chosen["clusters"]),
            quantization=Quantization(chosen["quantization"]),
            calibration=Calibration(chosen["calibration"]),
            calibration_rows=int(chosen["calibration_rows"]),
            storage=Storage(chosen["storage"]),
            delegate=Delegate(chosen["delegate"]),
            num_threads=int(chosen["num_threads"]),
            batch_size=int(chosen["batch_size"]),
        )

    def params(self) -> dict[str, float | int | str]:
        """The parameters by name, as plain JSON values: what an Optuna trial holds."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def label(self, delegate: str | None = None) -> str:
        """The configuration in a few words, such as `int8 sparsity 0.75 xnnpack 1 thread batch 4`.

        Args:
            delegate: What is said of the delegate, where there is more to say than its name.
        """
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        runs_on = f"{delegate or self.delegate} {threads} batch {self.batch_size}"
        weights = [f"sparsity {self.sparsity}"] + ([f"{self.clusters} clusters"] if self.clusters else [])
        if self.storage is Storage.SPARSE:
            weights.append("stored sparsely")
        return " ".join([f"{self.quantization}{self._calibrated()}", *weights, runs_on])

    def _calibrated(self) -> str:
        """What differs from the usual calibration, in brackets."""
        usual = DeploymentConfig()
        parts = [] if self.calibration is usual.calibration else [str(self.calibration)]
        parts += [] if self.calibration_rows == usual.calibration_rows else [f"{self.calibration_rows} rows"]
        return f" ({', '.join(parts)})" if parts else ""


_LATER = ("clusters", "calibration", "calibration_rows", "storage")
"""What older records and bundles do not name: it is the baseline's there."""


def _plain(choice: Any) -> Any:
    return getattr(choice, "value", choice)


BASELINE = DeploymentConfig()
"""The float model as it is, on the default delegate: every figure is also shown relative to it."""
