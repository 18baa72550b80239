"""Confirmed figures: a cell measured once more after the search, longer and on an otherwise idle machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litefront.objectives.measurement import Measurement
from litefront.objectives.timing import Mode
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.tables import value_text

__all__ = ["Confirmation", "confirmed_text", "latency_text", "read_confirmations", "soaked_text"]


@dataclass(frozen=True)
class Confirmation:
    """What measuring a cell again gave.

    Attributes:
        cell: Its digest.
        mode: How thoroughly it was measured.
        figures: What was found, by name, as in a cell's record. `latency_p90_ms` is over all calls, as MLPerf asks.
        beside_ms: p50 of the baseline's call between the rounds, for the same pace of the machine; None if this is it.
        facts: What was counted meanwhile: calls, seconds of calls, load and stolen time, the machine's speed.
        noisy: Why the figures should be taken with care, or fall short of what the mode asks.
        soak_s: For how long the cell was called without a pause before `soaked` was measured, seconds.
        soaked: Latency after that; empty without a soak.
        measured_at: When, as an ISO time in UTC.
    """

    cell: str
    mode: Mode
    figures: Mapping[str, Measurement]
    beside_ms: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    noisy: str | None = None
    soak_s: float = 0.0
    soaked: Mapping[str, Measurement] = field(default_factory=dict)
    measured_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """The confirmation as plain JSON values."""
        return {
            "cell": self.cell,
            "mode": self.mode.value,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "beside_ms": self.beside_ms,
            "facts": dict(self.facts),
            "noisy": self.noisy,
            "soak_s": self.soak_s,
            "soaked": {name: figure.to_json() for name, figure in self.soaked.items()},
            "measured_at": self.measured_at,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Confirmation:
        """Reads what `to_json` wrote."""
        figures = {
            which: {name: Measurement.from_json(figure) for name, figure in record[which].items()}
            for which in ("figures", "soaked")
        }
        return cls(**{**record, **figures, "mode": Mode(record["mode"])})


def read_confirmations(directory: RunDirectory, context_digest: str) -> dict[str, Confirmation]:
    """The latest confirmation of each cell that belongs to this context, by cell."""
    lines = [line for line in read_json_lines(directory.confirmations) if line.get("context") == context_digest]
    confirmations = (Confirmation.from_json(line["confirmation"]) for line in lines)
    return {confirmation.cell: confirmation for confirmation in confirmations}


def confirmed_text(confirmation: Confirmation) -> str:
    """The latency with its mode, as one reads it."""
    facts = confirmation.facts
    text = latency_text(confirmation.figures)
    if confirmation.beside_ms is not None:
        text += f", {confirmation.figures['latency_ms'].value / confirmation.beside_ms:.2f}x the baseline"
    text += f" ({confirmation.mode}: {facts['calls']:,} calls in {facts['seconds']:.0f} s)"
    return f"{text}, noisy: {confirmation.noisy}" if confirmation.noisy else text


def soaked_text(confirmation: Confirmation) -> str:
    """The latency after the soak, beside the one before it."""
    ratio = confirmation.soaked["latency_ms"].value / confirmation.facts["before_soak_ms"]
    return f"{latency_text(confirmation.soaked)}, {ratio:.2f}x, after {confirmation.soak_s:g} s of calls"


def latency_text(figures: Mapping[str, Measurement]) -> str:
    """The p50 and the p90."""
    p50, p90 = (value_text(name, figures[name].value, "ms") for name in ("latency_ms", "latency_p90_ms"))
    return f"p50 {p50}, p90 {p90}"
