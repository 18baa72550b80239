"""What is known of one cell: its configuration, its figures or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from litefront.objectives.measurement import Measurement, Provenance
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["CellRecord", "CellState"]


_PARTIAL_BY_NATURE = frozenset({Delegate.NONE, Delegate.XNNPACK})


class CellState(StrEnum):
    """What became of a cell."""

    MEASURED = "measured"  # all figures are there
    REJECTED = "rejected"  # built, but it does not hold what the study asks; the reason says what
    FAILED = "failed"  # could not be built or run; tried again by the next run


@dataclass(frozen=True)
class CellRecord:
    """One cell's outcome.

    Attributes:
        cell: Digest of the configuration and of everything else that its figures depend on.
        config: The canonical configuration.
        state: What became of it.
        device: The device that measured, by its name in the study.
        figures: Every figure that was obtained, by name; a rejected cell has those up to its gate.
        facts: What was counted in the file and at run time: sparsities, quantized and delegated shares, sha256.
        reason: Why it was rejected or failed.
        noisy: Why its latency should be taken with care.
        rejected_by: The gate that rejected it: `size`, `download`, `accuracy`, `delegate`, `latency` or `load`.
        violation: By how much a rejected cell misses, in the gate's unit; what the sampler learns from.
        stages: The keys of the stages that made it, by stage.
        finished_at: When, as an ISO time in UTC.
    """

    cell: str
    config: DeploymentConfig
    state: CellState
    device: str
    figures: Mapping[str, Measurement] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    rejected_by: str | None = None
    noisy: str | None = None
    violation: float = 0.0
    stages: Mapping[str, str] = field(default_factory=dict)
    finished_at: str = ""

    @property
    def is_modelled(self) -> bool:
        """Whether no clock was asked: its latency is a formula's."""
        latency = self.figures.get("latency_ms")
        return latency is not None and latency.provenance is Provenance.MODELLED

    def value(self, figure: str) -> float:
        """The value of a figure that is there."""
        return self.figures[figure].value

    @property
    def delegate_text(self) -> str:
        """The delegate by what it really was, such as `gpu (5 of 9 nodes, in software)`.

        XNNPACK is LiteRT's default and the built-in kernels do the rest, so its share is no news.
        """
        delegate, ran, nodes = self.config.delegate, self.facts.get("delegated_nodes"), self.facts.get("nodes")
        is_part = ran is not None and nodes is not None and ran < nodes and delegate not in _PARTIAL_BY_NATURE
        notes = [f"{ran} of {nodes} nodes"] if is_part else []
        notes += ["in software"] if "software" in self.facts else []
        return f"{delegate} ({', '.join(notes)})" if notes else delegate.value

    def label(self) -> str:
        """The configuration in a few words, with the delegate by what it really was."""
        return self.config.label(self.delegate_text)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {
            "cell": self.cell,
            "config": self.config.params(),
            "state": self.state.value,
            "device": self.device,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "facts": dict(self.facts),
            "reason": self.reason,
            "rejected_by": self.rejected_by,
            "noisy": self.noisy,
            "violation": self.violation,
            "stages": dict(self.stages),
            "finished_at": self.finished_at,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CellRecord:
        """Reads what `to_json` wrote."""
        return cls(
            cell=record["cell"],
            config=DeploymentConfig.from_params(record["config"]),
            state=CellState(record["state"]),
            device=record["device"],
            figures={name: Measurement.from_json(figure) for name, figure in record["figures"].items()},
            facts=record["facts"],
            reason=record["reason"],
            rejected_by=record["rejected_by"],
            noisy=record["noisy"],
            violation=record["violation"],
            stages=record["stages"],
            finished_at=record["finished_at"],
        )
