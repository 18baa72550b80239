"""A figure that says what it is: value, unit, interval, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["FIDELITY", "Measurement", "Provenance"]

FIDELITY = "fidelity"
"""Unit, and name, of an accuracy that is agreement with the float model's own answers."""


class Provenance(StrEnum):
    """Where a figure comes from; always stored and shown beside it."""

    MEASURED = "measured"  # a clock, the file system, or labelled rows
    COUNTED = "counted"  # an energy counter
    MODELLED = "modelled"  # a formula


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        value: The figure, in `unit`.
        unit: Its unit, such as `ms`.
        provenance: Whether it was measured, counted or modelled.
        source: How it was obtained, in a few words.
        interval: Lowest and highest value that are plausible, in `unit`; None if the figure is exact.
        confidence: How often such an interval holds the true value.
    """

    value: float
    unit: str
    provenance: Provenance
    source: str
    interval: tuple[float, float] | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        ends = self.interval or ()
        if not all(math.isfinite(number) for number in (self.value, *ends)):
            raise ValueError(f"A figure must be finite, but got {self.value} {ends} {self.unit}.")

    def to_json(self) -> dict[str, Any]:
        """The figure as plain JSON values."""
        record = {"value": self.value, "unit": self.unit, "provenance": self.provenance.value, "source": self.source}
        if self.interval is None:
            return record
        return record | {"interval": list(self.interval), "confidence": self.confidence}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Measurement:
        """Reads what `to_json` wrote."""
        interval = record.get("interval")
        return cls(
            value=record["value"],
            unit=record["unit"],
            provenance=Provenance(record["provenance"]),
            source=record["source"],
            interval=None if interval is None else (interval[0], interval[1]),
            confidence=record.get("confidence", 0.95),
        )
