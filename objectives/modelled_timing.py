"""A timing that no clock saw: what a model says of a candidate's calls, and how far off it may be.

Such a timing has no rounds and no noise: asked again, the model says the same. Its interval is the model's error. Most
of that is shared by all candidates of a device (a rate that is too high is too high for each of them), so that
candidates stand to each other far better than the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from litefront.objectives.measurement import Measurement, Provenance

__all__ = ["ModelledTiming"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ModelledTiming:
    """What a model says of a candidate.

    Attributes:
        source: Which model.
        latency_ms: Time of a call.
        latency_error: Standard deviation of the logarithm of the modelled over the true latency.
        cold_start_ms: Load and first call.
        memory_bytes: Memory that these take.
        start_error: Standard deviation of the logarithm of cold start and memory.
        busy_cores: Cores that a call keeps busy on average.
        core_latency_ms: What one core takes for the same call.
    """

    source: str
    latency_ms: float
    latency_error: float
    cold_start_ms: float
    memory_bytes: float
    start_error: float
    busy_cores: float
    core_latency_ms: float

    def to_json(self) -> dict[str, Any]:
        """The timing as a device's reply holds it, under `modelled`."""
        return asdict(self)

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any]) -> ModelledTiming | None:
        """The timing that a device's reply holds; None if that was measured."""
        return cls(**reply["modelled"]) if "modelled" in reply else None

    def figures(self, batch_size: int) -> dict[str, Measurement]:
        """The figures that a measurement would give.

        Args:
            batch_size: Rows a call.

        Returns:
            `latency_ms`, `latency_p90_ms` (the same: the model knows no spread), `throughput_per_s` in samples,
            `cold_start_ms` and `memory_bytes`.
        """
        per_s = 1000.0 * batch_size / self.latency_ms
        return {
            "latency_ms": self._figure(self.latency_ms, "ms", self.latency_error),
            "latency_p90_ms": self._figure(self.latency_ms, "ms", self.latency_error, "p50, for it knows no spread"),
            "throughput_per_s": self._figure(per_s, "1/s", self.latency_error, "batch / latency"),
            "cold_start_ms": self._figure(self.cold_start_ms, "ms", self.start_error, "load and first call"),
            "memory_bytes": self._figure(self.memory_bytes, "bytes", self.start_error, "weights and largest values"),
        }

    def _figure(self, value: float, unit: str, error: float, what: str = "") -> Measurement:
        factor = math.exp(NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2) * error)
        source = f"{self.source}: {what}" if what else self.source
        return Measurement(value, unit, Provenance.MODELLED, source, (value / factor, value * factor), _CONFIDENCE)
