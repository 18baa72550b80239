"""How sure it is which cells are on the Pareto front, given that a clock never tells the same time twice.

A cell may be timed several times. The interval of one timing shows what changes from round to round within it, not what
changes from one timing to the next: where the process's memory lies, the clock frequency, the neighbours. So a cell's
relative standard error is taken over both levels,

    se^2 = mean(within^2) / n + between^2 / n

for `n` timings of the cell, `within` the standard error of each one (Kalibera and Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013, section 6.2: the variance of a mean over nested levels). `between` is one figure for all
cells. It is estimated by moments from those that were timed more than once, as DerSimonian and Laird do for studies of
unequal precision (Controlled Clinical Trials 7, 1986): the squared deviations of the log latencies from each cell's
mean, less what their own intervals explain. Few repeats say little, so a prior of 1 % enters with the weight of 4
degrees of freedom: a quiet machine of two cores showed 0.5 %, a shared one several per cent.

What the front would be is drawn again and again. Latency is log-normal about its figure with that standard error, and
figures that follow from it move with it: p90 in proportion, throughput inversely, modelled energy and power by their
model, whose dependence on the time is a straight line. Cold start and memory move by their own intervals, apart from
latency. Accuracy, size and download are exact: of the rows and of the very file that ships, which is what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.catalogue import Objective
from litefront.objectives.devices import DEVICE_KINDS
from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellRecord
from litefront.search.front import pareto_front
from litefront.search.study_spec import StudySpec
from litefront.search.tiers import power_inputs

__all__ = [
    "SURE",
    "Standing",
    "between_scatter",
    "front_probabilities",
    "standings",
    "ties",
    "timing_count",
    "uncertain_cells",
]

SURE = 0.95
"""Probability from which a cell counts as a member of the front."""

_PRIOR_SCATTER = 0.01
_PRIOR_DEGREES = 4
_DRAWS = 400
_SEED = 0
# Beyond doubt: so many standard errors apart that a draw in 30,000 would cross one of them.
_BEYOND_DOUBT = 4.0
_TIED_ERRORS = 2.0

_FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """How sure a cell's place is.

    Attributes:
        probability: Of being on the front.
        timings: How often its latency was measured.
        ties: For a member of the front, the cells that cannot be told apart from it; for another cell, the members that
            it cannot be told apart from.
    """

    probability: float
    timings: int
    ties: tuple[str, ...]


def standings(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, Standing]:
    """How sure the place of each measured cell is, by cell."""
    probabilities = front_probabilities(records, spec)
    tied = ties(records, spec)
    members_of: dict[str, list[str]] = {}
    for member, others in tied.items():
        for other in others:
            members_of.setdefault(other, []).append(member)
    return {
        record.cell: Standing(
            probability=probabilities[record.cell],
            timings=timing_count(record),
            ties=tied.get(record.cell) or tuple(members_of.get(record.cell, ())),
        )
        for record in records
    }


def front_probabilities(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, float]:
    """The probability of being on the front, by cell.

    It is the share of 400 seeded draws in which no other cell beats it. Cells that others dominate beyond doubt are
    left out of the draws: whatever such a cell would beat, the one that dominates it beats as well.

    Args:
        records: Measured cells, with all figures of the objectives.
        spec: Gives objectives, device and load.
    """
    import moocore

    columns = _columns(records, spec)
    candidates = np.flatnonzero(~_dominated_beyond_doubt(columns, len(records)))
    kept = [column.of(candidates) for column in columns]
    rng = np.random.default_rng(_SEED)
    on_front = np.zeros(len(candidates))
    for _ in range(_DRAWS if len(candidates) else 0):
        of_latency = rng.standard_normal(len(candidates))
        losses = [
            column.losses(of_latency if column.by_latency else rng.standard_normal(len(candidates))) for column in kept
        ]
        on_front += moocore.is_nondominated(np.column_stack(losses), keep_weakly=True)
    probabilities = dict.fromkeys((record.cell for record in records), 0.0)
    shares = on_front / _DRAWS
    return probabilities | {
        records[index].cell: float(share) for index, share in zip(candidates.tolist(), shares, strict=True)
    }


def uncertain_cells(
    records: Sequence[CellRecord], spec: StudySpec, low: float = 1 - SURE, high: float = SURE
) -> list[CellRecord]:
    """The cells whose place is open, those first that a further measurement would tell most about.

    The order is that of `p (1 - p)`, the variance of being on the front, times the part of the standard error that one
    more timing takes away, `1 - sqrt(n / (n + 1))`.

    Args:
        records: Measured cells.
        spec: The study.
        low: Probability of being on the front below which a cell is taken as dominated.
        high: Probability above which it is taken as a member.
    """
    probabilities = front_probabilities(records, spec)

    def benefit(record: CellRecord) -> float:
        probability, timings = probabilities[record.cell], timing_count(record)
        return probability * (1 - probability) * (1 - math.sqrt(timings / (timings + 1)))

    uncertain = (record for record in records if low <= probabilities[record.cell] <= high)
    return sorted(uncertain, key=lambda record: (-benefit(record), record.cell))


def ties(records: Sequence[CellRecord], spec: StudySpec) -> dict[str, tuple[str, ...]]:
    """For each member of the front by value that has any, the cells that cannot be told apart from it.

    These are equal in every exact objective, and in every noisy one no further apart than twice the standard error of
    the difference. They may be members as well or not.
    """
    columns = _columns(records, spec)
    front = {record.cell for record in pareto_front(records, spec.chosen_objectives())}
    tied: dict[str, tuple[str, ...]] = {}
    for index, record in enumerate(records):
        if record.cell not in front:
            continue
        alike = np.all([column.equals(index) for column in columns], axis=0)
        others = tuple(records[other].cell for other in np.flatnonzero(alike).tolist() if other != index)
        if others:
            tied[record.cell] = others
    return tied


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
    return len(_timings(record)[0])


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
        latencies, within = _timings(record)
        return math.sqrt((float(np.mean(within**2)) + between**2) / len(latencies))

    return np.array([error(record) for record in records])


def _relative_error(figure: Measurement) -> float:
    """Relative standard error by a figure's own interval, taken as that of a normal distribution; 0 without one."""
    if figure.interval is None or figure.value <= 0:
        return 0.0
    low, high = figure.interval
    return (high - low) / 2 / figure.value / _errors_per_half_width(figure.confidence)


def _errors_per_half_width(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


@dataclass(frozen=True)
class _Column:
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

    def of(self, cells: NDArray[np.intp]) -> _Column:
        """The column of these cells."""
        parts = (self.fixed[cells], self.moving[cells], self.log_error[cells])
        return _Column(self.objective, *parts, self.by_latency)

    def losses(self, deviates: _FloatArray | float) -> _FloatArray:
        """The losses where each cell is so many standard errors from its figure."""
        values = self.fixed + self.moving * np.exp(self.log_error * deviates)
        return values if self.objective.loss(1.0) > 0 else -values

    def bounds(self, errors: float) -> tuple[_FloatArray, _FloatArray]:
        """Lowest and highest losses within so many standard errors."""
        ends = self.losses(-errors), self.losses(errors)
        return np.minimum(*ends), np.maximum(*ends)

    def equals(self, index: int) -> NDArray[np.bool_]:
        """Which cells cannot be told apart from the one at `index` in this objective."""
        values, errors = self.losses(0.0), self.moving * self.log_error
        allowed = _TIED_ERRORS * np.hypot(errors, errors[index])
        return np.asarray(np.abs(values - values[index]) <= allowed)


def _columns(records: Sequence[CellRecord], spec: StudySpec) -> list[_Column]:
    latency_errors = _latency_errors(records)
    return [_column(objective, records, spec, latency_errors) for objective in spec.chosen_objectives()]


def _column(
    objective: Objective, records: Sequence[CellRecord], spec: StudySpec, latency_errors: _FloatArray
) -> _Column:
    values = np.array([record.value(objective.figure) for record in records])
    match objective.figure:
        case "latency_ms" | "latency_p90_ms":
            return _Column(objective, np.zeros_like(values), values, latency_errors, True)
        case "throughput_per_s":
            return _Column(objective, np.zeros_like(values), values, -latency_errors, True)
        case "energy_mj" | "power_mw" if _is_modelled(objective, records):
            moving = _parts_of_time(objective, records, spec)
            return _Column(objective, values - moving, moving, latency_errors, True)
        case "energy_mj" | "power_mw" | "cold_start_ms" | "memory_bytes":
            errors = np.array([_relative_error(record.figures[objective.figure]) for record in records])
            return _Column(objective, np.zeros_like(values), values, errors, False)
        case _:
            return _Column(objective, values, np.zeros_like(values), np.zeros_like(values), False)


def _is_modelled(objective: Objective, records: Sequence[CellRecord]) -> bool:
    return all(record.figures[objective.figure].provenance is Provenance.MODELLED for record in records)


def _parts_of_time(objective: Objective, records: Sequence[CellRecord], spec: StudySpec) -> _FloatArray:
    """The part of each modelled energy (mJ a sample) or power (mW) that is in proportion to the latency."""
    model = DEVICE_KINDS[spec.devices[spec.device_name].kind]().power_model

    def energy_mj(record: CellRecord) -> float:
        inputs = power_inputs(record)
        at_once = replace(inputs, latency_ms=0.0)
        return (model.call_energy_mj(inputs) - model.call_energy_mj(at_once)) / inputs.batch_size

    energies = np.array([energy_mj(record) for record in records])
    if objective.figure == "energy_mj":
        return energies
    assert spec.load is not None, "power is an objective only where there is a load"
    return energies * spec.load.samples_per_s


def _dominated_beyond_doubt(columns: Sequence[_Column], cells: int) -> NDArray[np.bool_]:
    """Which cells another one beats even if luck flattered the other and not them, shape `(cells,)`."""
    import moocore

    if not cells:
        return np.zeros(0, dtype=bool)
    ends = [column.bounds(_BEYOND_DOUBT) for column in columns]
    at_best, at_worst = np.column_stack([low for low, _ in ends]), np.column_stack([high for _, high in ends])
    dominated = np.zeros(cells, dtype=bool)
    # What dominates at its worst is dominated by, or is, one of the front of the worsts.
    for worst in at_worst[moocore.is_nondominated(at_worst)]:
        dominated |= np.all(worst <= at_best, axis=1) & np.any(worst < at_best, axis=1)
    return dominated
