"""How far the figures of a cell would move if it were measured again.

A cell may be timed several times. The interval of one timing shows what changes from round to round within it, not what
changes from one timing to the next: where the process's memory lies, the clock frequency, the neighbours. So a cell's
relative standard error is taken over both levels,

    se^2 = mean(within^2) / n + between^2 / n

for `n` timings of the cell, `within` the standard error of each one: the variance of a mean over nested levels, as in
Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013. `between` is one figure for all cells. It is
estimated by moments from those that were timed more than once, as DerSimonian and Laird do for studies of unequal
precision (Controlled Clinical Trials 7, 1986): the squared deviations of the log latencies from each cell's mean, less
what their own intervals explain. Few repeats say little, so a prior of 1 % enters with the weight of 4 degrees of
freedom: a quiet machine of two cores showed 0.5 %, a shared one several per cent.

Latency is log-normal about its figure with that standard error, and figures that follow from it move with it: p90 in
proportion, throughput inversely, modelled energy and power by their model, whose dependence on the time is a straight
line. Cold start and memory move by their own intervals, apart from latency. Accuracy, size and download are exact: of
the rows and of the very file that ships, which is what is compared. So is a latency that was modelled, and what goes
with it: a model says the same whenever it is asked, and its error is mostly one for all cells of a device, which does
not change their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.catalogue import Objective
from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellRecord
from litefront.search.study_spec import StudySpec
from litefront.search.tiers import power_inputs

__all__ = ["NoisyColumn", "between_scatter", "noisy_columns", "timing_count"]

_PRIOR_SCATTER = 0.01
_PRIOR_DEGREES = 4

_FloatArray = NDArray[np.float64]


def between_scatter(records: Iterable[CellRecord]) -> float:
    """Relative scatter from one timing of a cell to the next, beyond what each one's interval shows."""
    squares, degrees = 0.0, 0
    for record in records:
        latencies, within = _timings(record)
        repeats = len(latencies) - 1
        logs = np.log(latencies)
        squares += float(np.sum((logs - logs.mean()) ** 2) - repeats * np.mean(within**2))
        degrees += repeats
    variance = (_PRIOR_DEGREES * _PRIOR_SCATTER**2 + max(0.0, squares)) / (_PRIOR_DEGREES + degrees)
    return math.sqrt(variance)


def timing_count(record: CellRecord) -> int:
    """How often a cell's latency was measured; disturbed timings count only where there is no other."""
    return 0 if record.is_modelled else len(_timings(record)[0])


def _timings(record: CellRecord) -> tuple[_FloatArray, _FloatArray]:
    """Latency in ms and relative standard error of each timing that counts.

    Without a list of timings the latency figure is the only one.
    """
    timings = record.facts.get("timings") or ()
    kept = [timing for timing in timings if not timing["disturbed"]] or timings
    if kept:
        latencies = np.array([timing["latency_ms"] for timing in kept])
        return latencies, np.array([timing["half_width"] for timing in kept]) / _errors_per_half_width(0.95)
    latency = record.figures["latency_ms"]
    return np.array([latency.value]), np.array([_relative_error(latency)])


def _latency_errors(records: Sequence[CellRecord]) -> _FloatArray:
    """Relative standard error of each record's latency, shape `(records,)`; the module's docstring has the formula."""
    between = between_scatter(records)

    def error(record: CellRecord) -> float:
        if record.is_modelled:
            return 0.0
        latencies, within = _timings(record)
        return math.sqrt((float(np.mean(within**2)) + between**2) / len(latencies))

    return np.array([error(record) for record in records])


def _own_error(record: CellRecord, figure: str) -> float:
    """Relative standard error of a figure by its own interval; a modelled device's intervals are no noise."""
    return 0.0 if record.is_modelled else _relative_error(record.figures[figure])


def _relative_error(figure: Measurement) -> float:
    """Relative standard error by a figure's own interval, taken as that of a normal distribution; 0 without one."""
    if figure.interval is None or figure.value <= 0:
        return 0.0
    low, high = figure.interval
    return (high - low) / 2 / figure.value / _errors_per_half_width(figure.confidence)


def _errors_per_half_width(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


@dataclass(frozen=True)
class NoisyColumn:
    """One objective's values over the cells, as `fixed + moving * exp(log_error * z)` with `z` standard normal.

    Attributes:
        objective: Which one.
        fixed: The part that does not move, shape `(cells,)`.
        moving: The part that does.
        log_error: By how much a standard error moves it; negative where it falls as latency rises, 0 if exact.
        by_latency: Whether latency moves it, so that it moves with the other figures that do.
    """

    objective: Objective
    fixed: _FloatArray
    moving: _FloatArray
    log_error: _FloatArray
    by_latency: bool

    def of(self, cells: Sequence[int]) -> NoisyColumn:
        """The column of the cells at these places."""
        at = list(cells)
        return replace(self, fixed=self.fixed[at], moving=self.moving[at], log_error=self.log_error[at])

    def losses(self, deviates: _FloatArray | float) -> _FloatArray:
        """The losses where each cell is so many standard errors from its figure."""
        values = self.fixed + self.moving * np.exp(self.log_error * deviates)
        return values if self.objective.loss(1.0) > 0 else -values

    def bounds(self, errors: float) -> tuple[_FloatArray, _FloatArray]:
        """Lowest and highest losses within so many standard errors."""
        ends = self.losses(-errors), self.losses(errors)
        return np.minimum(*ends), np.maximum(*ends)

    def within(self, errors: float, index: int) -> NDArray[np.bool_]:
        """Which cells differ from the one at `index` by at most so many standard errors of the difference."""
        values, moves = self.losses(0.0), self.moving * self.log_error
        return np.asarray(np.abs(values - values[index]) <= errors * np.hypot(moves, moves[index]))


def noisy_columns(records: Sequence[CellRecord], spec: StudySpec) -> list[NoisyColumn]:
    """The study's objectives over these cells, in their order.

    Args:
        records: Measured cells, with all figures of the objectives.
        spec: Gives objectives, device and load.
    """
    latency_errors = _latency_errors(records)
    return [_column(objective, records, spec, latency_errors) for objective in spec.chosen_objectives()]


def _column(
    objective: Objective, records: Sequence[CellRecord], spec: StudySpec, latency_errors: _FloatArray
) -> NoisyColumn:
    values = np.array([record.value(objective.figure) for record in records])
    match objective.figure:
        case "latency_ms" | "latency_p90_ms":
            return NoisyColumn(objective, np.zeros_like(values), values, latency_errors, True)
        case "throughput_per_s":
            return NoisyColumn(objective, np.zeros_like(values), values, -latency_errors, True)
        case "energy_mj" | "power_mw" if _is_modelled(objective, records):
            moving = _parts_of_time(objective, records, spec)
            return NoisyColumn(objective, values - moving, moving, latency_errors, True)
        case "energy_mj" | "power_mw" | "cold_start_ms" | "memory_bytes":
            errors = np.array([_own_error(record, objective.figure) for record in records])
            return NoisyColumn(objective, np.zeros_like(values), values, errors, False)
        case _:
            return NoisyColumn(objective, values, np.zeros_like(values), np.zeros_like(values), False)


def _is_modelled(objective: Objective, records: Sequence[CellRecord]) -> bool:
    return all(record.figures[objective.figure].provenance is Provenance.MODELLED for record in records)


def _parts_of_time(objective: Objective, records: Sequence[CellRecord], spec: StudySpec) -> _FloatArray:
    """The part of each modelled energy (mJ a sample) or power (mW) that is in proportion to the latency."""
    model = spec.device.open().power_model

    def energy_mj(record: CellRecord) -> float:
        inputs = power_inputs(record)
        at_once = replace(inputs, latency_ms=0.0)
        return (model.call_energy_mj(inputs) - model.call_energy_mj(at_once)) / inputs.batch_size

    energies = np.array([energy_mj(record) for record in records])
    if objective.figure == "energy_mj":
        return energies
    assert spec.load is not None, "power is an objective only where there is a load"
    return energies * spec.load.samples_per_s
