"""The objectives: which figure each one is, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from litefront.objectives.measurement import FIDELITY

__all__ = ["FIGURES", "OBJECTIVES", "Direction", "Objective"]


class Direction(StrEnum):
    """Which way is better; Optuna's words."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """Something that a study may optimise.

    Attributes:
        name: Its name in a study file.
        figure: The figure's name in records, limits and manifests, with its unit.
        direction: Which way is better.
        title: What a reader calls it, with the unit.
    """

    name: str
    figure: str
    direction: Direction
    title: str

    def called(self, unit: str) -> str:
        """What a reader calls it, by its figure's unit: agreement with the float model is fidelity, not accuracy."""
        return unit if unit == FIDELITY else self.name

    def loss(self, value: float) -> float:
        """The value with its sign such that lower is better."""
        return value if self.direction is Direction.MINIMIZE else -value


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "accuracy", Direction.MAXIMIZE, "accuracy"),
        Objective("size", "size_bytes", Direction.MINIMIZE, "size, bytes"),
        Objective("download", "download_bytes", Direction.MINIMIZE, "download, bytes deflated"),
        Objective("latency", "latency_ms", Direction.MINIMIZE, "latency, ms a call (p50)"),
        Objective("throughput", "throughput_per_s", Direction.MAXIMIZE, "throughput, samples/s"),
        Objective("cold_start", "cold_start_ms", Direction.MINIMIZE, "cold start, ms"),
        Objective("memory", "memory_bytes", Direction.MINIMIZE, "peak memory, bytes"),
        Objective("power", "power_mw", Direction.MINIMIZE, "power for the load, mW"),
        Objective("energy", "energy_mj", Direction.MINIMIZE, "energy a sample, mJ"),
    )
}
"""Every objective by its name."""

_LIMITS_ONLY = (
    Objective("latency_p90", "latency_p90_ms", Direction.MINIMIZE, "latency, ms a call (p90)"),
    # The float model's own is 0, which nothing can be a multiple of.
    Objective("churn", "churn", Direction.MINIMIZE, "prediction churn, share of rows"),
)

FIGURES: dict[str, Objective] = {objective.figure: objective for objective in (*OBJECTIVES.values(), *_LIMITS_ONLY)}
"""Every figure that a limit may name."""
