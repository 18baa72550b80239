"""One point of the search space: everything that a release chooses about how a model ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization

__all__ = ["BASELINE", "DeploymentConfig"]


@dataclass(frozen=True, order=True)
class DeploymentConfig:
    """How one candidate is built and run.

    Attributes:
        sparsity: Fraction of the prunable weights set to zero, in [0, 1).
        quantization: How weights and activations are stored and computed.
        delegate: What executes the graph.
        num_threads: Threads that the delegate may use.
        batch_size: Rows a call takes; static in the graph.
    """

    sparsity: float = 0.0
    quantization: Quantization = Quantization.FLOAT32
    delegate: Delegate = Delegate.XNNPACK
    num_threads: int = 1
    batch_size: int = 1

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DeploymentConfig:
        """Reads what `params` wrote (plain JSON values).

        Raises:
            ValueError: If a value is not one of its dimension's.
        """
        return cls(
            sparsity=float(params["sparsity"]),
            quantization=Quantization(params["quantization"]),
            delegate=Delegate(params["delegate"]),
            num_threads=int(params["num_threads"]),
            batch_size=int(params["batch_size"]),
        )

    def params(self) -> dict[str, float | int | str]:
        """The parameters by name, as plain JSON values: what an Optuna trial holds."""
        return {name: getattr(value, "value", value) for name, value in asdict(self).items()}

    def label(self, delegate: str | None = None) -> str:
        """The configuration in a few words, such as `int8 sparsity 0.75 xnnpack 1 thread batch 4`.

        Args:
            delegate: What is said of the delegate, where there is more to say than its name.
        """
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        runs_on = f"{delegate or self.delegate} {threads} batch {self.batch_size}"
        return f"{self.quantization} sparsity {self.sparsity:g} {runs_on}"


BASELINE = DeploymentConfig()
"""The float model as it is, on the default delegate: every figure is also shown relative to it."""
