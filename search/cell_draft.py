"""What a cell's plan gathers on its way, until it is the cell's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from litefront.objectives.cold_start import measure_cold_start
from litefront.objectives.latency import beside_itself, busy_cores, measure_latency, noisy_reason, timing_facts
from litefront.objectives.measurement import Measurement
from litefront.objectives.modelled_timing import ModelledTiming
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.screening import Screened
from litefront.search.store import StageRecord
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["CellDraft", "in_software"]

# What a timing says of its machine; only some devices tell their health.
_KEPT_OF_TIMINGS = ("load_average", "steal_s", "health")

# The figures that do not hang on how long a call takes.
_WITHOUT_TIME = frozenset({"accuracy", "churn", "size_bytes", "download_bytes"})
_IN_SOFTWARE = ", in software"


class CellDraft:
    """What is known of a cell so far.

    Args:
        cell: Its digest.
        config: Its canonical configuration.
        device: The device's name in the study.
    """

    def __init__(self, cell: str, config: DeploymentConfig, device: str) -> None:
        self.cell = cell
        self.config = config
        self.device = device
        self.figures: dict[str, Measurement] = {}
        self.facts: dict[str, Any] = {}
        self.stages: dict[str, str] = {}
        self.noisy: str | None = None

    @classmethod
    def of(cls, record: CellRecord) -> CellDraft:
        """What a finished record holds, to be gone on with."""
        draft = cls(record.cell, record.config, record.device)
        draft.figures |= record.figures
        draft.facts |= record.facts
        draft.stages |= record.stages
        return draft

    def note(self, record: StageRecord) -> StageRecord:
        """Remembers that this stage made the cell."""
        self.stages[record.stage] = record.key
        if record.stage == "quantized":
            self.facts["sha256"] = record.objects["tflite"].partition(".")[0]
        return record

    def take_counts(self, record: StageRecord) -> None:
        """Takes over a stage's figures and what it counted."""
        self.facts |= record.facts["counted"]
        figures: Mapping[str, Any] = record.facts["figures"]
        self.figures |= {name: Measurement.from_json(figure) for name, figure in figures.items()}

    def take_training(self, record: StageRecord) -> None:
        """Takes over what was found while a model was made."""
        self.facts |= {name: fact for name, fact in record.facts.items() if name != "format"}

    def take_pruning(self, record: StageRecord, from_level: float) -> None:
        """Takes over what a pruning found, and the level that it started from."""
        self.take_training(record)
        self.facts["pruned_from_level"] = from_level

    def take_screening(self, screened: Screened) -> None:
        """Takes over what a part of the rows told."""
        self.note(screened.last)
        self.facts |= screened.last.facts["counted"] | {"screening_s": screened.seconds}
        self.figures["accuracy"] = screened.accuracy()

    def take_latency(
        self, timings: Sequence[StageRecord], reference_ms: float | None, *, is_reference: bool = False
    ) -> None:
        """Sums up the rounds and cold starts of all timings.

        Args:
            timings: What the latency stage left.
            reference_ms: What the reference's call takes at the machine's pace; None if that is not known.
            is_reference: Whether this cell is the reference; it sets the pace if there is none.
        """
        rounds = [timing.facts["rounds"] for timing in timings]
        if is_reference:
            rounds = [beside_itself(taken) for taken in rounds]
        self.figures |= measure_latency(rounds, self.config.batch_size, reference_ms=reference_ms)
        self.figures |= measure_cold_start([start for timing in timings for start in timing.facts["cold_starts"]])
        latest = timings[-1].facts
        self.facts |= {name: latest[name] for name in ("delegated_nodes", "nodes", "last_level_cache_bytes")}
        self.facts["busy_cores"] = busy_cores(rounds)
        self.facts["timings"] = [
            timing_facts(taken, reference_ms)
            | {"had_reference": "reference_ms" in timing.facts["rounds"][0]}
            | {name: timing.facts[name] for name in _KEPT_OF_TIMINGS if name in timing.facts}
            for timing, taken in zip(timings, rounds, strict=True)
        ]
        if reference_ms is not None:
            self.facts["reference_ms"] = reference_ms
        elif is_reference:
            self.facts["reference_ms"] = self.figures["latency_ms"].value
        self.noisy = noisy_reason(rounds, reference_ms)

    def take_modelled_latency(self, timing: ModelledTiming, record: StageRecord) -> None:
        """Takes over what a data sheet says; there are no rounds, and nothing to be measured again.

        Args:
            timing: What it says.
            record: What the latency stage left.
        """
        self.figures |= timing.figures(self.config.batch_size)
        self.facts |= {
            "busy_cores": timing.busy_cores,
            "last_level_cache_bytes": record.facts["last_level_cache_bytes"],
            "latency_error": timing.latency_error,
            "core_latency_ms": timing.core_latency_ms,
            "timings": [],
        }
        self.noisy = None

    def mark_software(self, implementation: str) -> None:
        """Says of every figure that hangs on time that no accelerator took it."""
        self.facts["software"] = implementation
        timed = {name: figure for name, figure in self.figures.items() if name not in _WITHOUT_TIME}
        self.figures |= in_software(timed)

    def record(self, state: CellState, *, reason: str | None = None) -> CellRecord:
        """The record as it stands now."""
        return CellRecord(
            cell=self.cell,
            config=self.config,
            state=state,
            device=self.device,
            figures=dict(self.figures),
            facts=dict(self.facts),
            reason=reason,
            noisy=self.noisy,
            stages=dict(self.stages),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def in_software(figures: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Figures whose source says that a processor's code stood in for the accelerator."""
    return {
        name: figure if figure.source.endswith(_IN_SOFTWARE) else replace(figure, source=figure.source + _IN_SOFTWARE)
        for name, figure in figures.items()
    }
