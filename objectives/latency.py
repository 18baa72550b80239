"""Latency: time of one call at the configuration's batch, from rounds of calls of one or more measurements."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.runner import bootstrap_interval

__all__ = [
    "MAX_DRIFT",
    "MAX_TIMINGS",
    "Rounds",
    "beside_itself",
    "busy_cores",
    "is_enough",
    "machine_speed",
    "measure_latency",
    "noisy_reason",
    "pace_correction",
    "timing_facts",
]

_NOISY_HALF_WIDTH = 0.05
_RESAMPLES = 400

MAX_DRIFT = 0.05
"""A machine whose speed is within this share of its pace is taken to be at it: so far, figures are left alone."""

MAX_TIMINGS = 3
"""How often a candidate is timed while its figures do not hold."""

Rounds = Sequence[Mapping[str, Any]]
"""The rounds of one measurement, as the runner's reply holds them."""


def measure_latency(
    measurements: Sequence[Rounds], batch_size: int, *, reference_ms: float | None = None
) -> dict[str, Measurement]:
    """Sums up the measurements of a candidate.

    The p50 of a measurement is the median over its rounds of each round's median; that of several is the median of
    theirs. Its 95 % interval is a bootstrap: of one measurement over its rounds, since calls of one round share their
    disturbances; of several over measurements and the rounds within them, at the level where variance arises (Kalibera
    and Jones, ISMM 2013). Disturbed rounds
    are left out as long as three calm ones remain; so are disturbed measurements, and those that scatter widely or
    found the machine at another pace, as long as a better one is there.

    A measurement in which the reference took over 5 % more or less than `reference_ms` found the machine slower or
    faster than that: each of its rounds is divided by what the reference beside it lost. Another model may lose less
    or more than the reference (integer kernels up to twice as much), so the interval is widened to either side by the
    factor of the correction.

    A device whose tool gives other statistics says in its rounds what stands for the two, as `median_is` and `p90_is`;
    the sources then say so.

    Args:
        measurements: The replies' `rounds`.
        batch_size: Rows a call.
        reference_ms: p50 of the reference's call at the machine's pace; None leaves the rounds as they are.

    Returns:
        `latency_ms` (p50), `latency_p90_ms`, and `throughput_per_s` in samples.
    """
    kept = _kept(measurements, reference_ms)
    p50 = [_times_ms(rounds, "median_ms", reference_ms) for rounds in kept]
    p90 = [_times_ms(rounds, "p90_ms", reference_ms) for rounds in kept]
    doubt = _doubt(kept, reference_ms)
    p50_ms, (low_ms, high_ms) = _median(p50), _interval(p50, doubt)
    p90_ms, p90_interval = _median(p90), _interval(p90, doubt)
    over = _over(measurements, kept, reference_ms)
    p50_is, p90_is = kept[0][0].get("median_is", "p50"), kept[0][0].get("p90_is", "p90")
    at_least = "" if p90_is == "p90" else ", no less than its p90,"
    per_ms = 1000.0 * batch_size
    return {
        "latency_ms": Measurement(p50_ms, "ms", Provenance.MEASURED, f"{p50_is} of a call {over}", (low_ms, high_ms)),
        "latency_p90_ms": Measurement(
            p90_ms, "ms", Provenance.MEASURED, f"{p90_is} of a call{at_least} {over}", p90_interval
        ),
        "throughput_per_s": Measurement(
            per_ms / p50_ms, "1/s", Provenance.MEASURED, f"batch / {p50_is} {over}", (per_ms / high_ms, per_ms / low_ms)
        ),
    }


def timing_facts(rounds: Rounds, reference_ms: float | None = None) -> dict[str, Any]:
    """What one measurement alone says.

    Returns:
        `latency_ms`, `half_width` of its interval as a fraction of it, `disturbed`, and of the reference beside it
        `beside_ms` as it was and the `machine_speed` that this means; each None if it is not known.
    """
    calm = _calm(rounds)
    return {
        "latency_ms": float(np.median(_times_ms(calm, "median_ms", reference_ms))),
        "half_width": _half_width([calm], reference_ms),
        "disturbed": _is_disturbed(rounds),
        "beside_ms": _beside_ms(rounds),
        "machine_speed": machine_speed(rounds, reference_ms),
    }


def machine_speed(rounds: Rounds, reference_ms: float | None) -> float | None:
    """How fast the machine was, 1 being its speed when the reference takes `reference_ms`; None if nobody knows."""
    beside_ms = _beside_ms(rounds)
    return None if reference_ms is None or beside_ms is None else reference_ms / beside_ms


def beside_itself(rounds: Rounds) -> Rounds:
    """The reference's own rounds as they would be with its own time beside them: it tells the machine's speed itself.

    Rounds that have the reference beside them keep what it took there.
    """
    own_ms = float(np.median([entry["median_ms"] for entry in _calm(rounds)]))
    return [{"reference_ms": own_ms, "is_reference": True, **entry} for entry in rounds]


def busy_cores(measurements: Sequence[Rounds]) -> float:
    """Processor seconds a second of calls: how many cores the candidate really kept busy, spinning included."""
    kept = [entry for rounds in _kept(measurements) for entry in rounds]
    return float(sum(entry["cpu_s"] for entry in kept) / sum(entry["wall_s"] for entry in kept))


def noisy_reason(measurements: Sequence[Rounds], reference_ms: float | None = None) -> str | None:
    """Why a latency should be taken with care, or None."""
    kept = _kept(measurements, reference_ms)
    if any(_is_disturbed(rounds) for rounds in kept):
        return "other work ran beside the measurement"
    if _doubt(kept, reference_ms) > 1:
        speeds = [machine_speed(rounds, reference_ms) or 1.0 for rounds in kept]
        return f"the machine was at {float(np.median(speeds)):.2f} of its speed, which is corrected roughly"
    half_width = _half_width(kept, reference_ms)
    return f"interval of +-{half_width:.0%}" if half_width > _NOISY_HALF_WIDTH else None


def is_enough(measurements: Sequence[Rounds], reference_ms: float | None = None) -> bool:
    """Whether a candidate needs no further timing: its figures hold, or it has had as many as it may have in one go.

    Args:
        measurements: The rounds of each of its timings so far.
        reference_ms: p50 of the reference's call at the machine's pace; None if that is not known.
    """
    if not measurements:
        return False
    return len(measurements) >= MAX_TIMINGS or noisy_reason(measurements, reference_ms) is None


def _kept(measurements: Sequence[Rounds], reference_ms: float | None = None) -> list[Rounds]:
    """The calm rounds of the measurements that count: the undisturbed and narrow ones if there are any."""
    undisturbed = [rounds for rounds in measurements if not _is_disturbed(rounds)]
    narrow = [rounds for rounds in undisturbed if _half_width([_calm(rounds)], reference_ms) <= _NOISY_HALF_WIDTH]
    return [_calm(rounds) for rounds in narrow or undisturbed or measurements]


def _half_width(kept: Sequence[Rounds], reference_ms: float | None) -> float:
    """Half-width of the interval that these measurements give, as a fraction of their p50."""
    times = [_times_ms(rounds, "median_ms", reference_ms) for rounds in kept]
    low, high = _interval(times, _doubt(kept, reference_ms))
    return (high - low) / 2 / _median(times)


def _calm(rounds: Rounds) -> Rounds:
    calm = [entry for entry in rounds if not entry["disturbed"]]
    return calm if len(calm) >= 3 else list(rounds)


def _is_disturbed(rounds: Rounds) -> bool:
    return any(entry["disturbed"] for entry in _calm(rounds))


def _beside_ms(rounds: Rounds) -> float | None:
    """What the reference's call took between the rounds; None if it was not called."""
    beside = [entry["reference_ms"] for entry in _calm(rounds) if "reference_ms" in entry]
    return float(np.median(beside)) if beside else None


def pace_correction(rounds: Rounds, reference_ms: float | None) -> float:
    """What the measurement's times are to be multiplied by; 1 for a machine at its pace."""
    speed = machine_speed(rounds, reference_ms)
    return 1.0 if speed is None or abs(speed - 1) <= MAX_DRIFT else speed


def _doubt(kept: Sequence[Rounds], reference_ms: float | None) -> float:
    """The factor by which corrections may have missed, either way; 1 where none was needed.

    In a slow phase of a shared machine, corrected by 1.15, eighteen timings of an int4 model were still 1.10 times too
    high in the median, five of an int8 model 1.26 times, and one of a float model 1.07 times.
    """
    corrections = [1.0 if rounds[0].get("is_reference") else pace_correction(rounds, reference_ms) for rounds in kept]
    return float(np.median([max(each, 1 / each) for each in corrections]))


def _times_ms(rounds: Rounds, name: str, reference_ms: float | None) -> NDArray[np.float64]:
    """The rounds' times, shape `(rounds,)`, on a machine on which the reference takes `reference_ms`."""
    times = np.array([entry[name] for entry in rounds])
    if pace_correction(rounds, reference_ms) == 1:
        return times
    beside = np.array([entry["reference_ms"] for entry in rounds])
    return np.asarray(times * reference_ms / beside)


def _median(times: Sequence[NDArray[np.float64]]) -> float:
    """The median of the measurements' medians, an array of rounds' times a measurement."""
    return float(np.median([np.median(rounds) for rounds in times]))


def _interval(times: Sequence[NDArray[np.float64]], doubt: float) -> tuple[float, float]:
    """The 95 % interval of `_median`, widened by a factor."""
    low, high = _bootstrap(tuple(times[0].tolist())) if len(times) == 1 else _pooled_interval(times)
    return low / doubt, high * doubt


def _pooled_interval(times: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    rng, number = np.random.default_rng(0), len(times)
    # Medians of each measurement's rounds drawn anew, `number` of them a resample: as many as may be drawn of it.
    redrawn = [
        np.median(rounds[rng.integers(0, len(rounds), (_RESAMPLES, number, len(rounds)))], axis=2) for rounds in times
    ]
    drawn = rng.integers(0, number, (1, _RESAMPLES, number))
    medians = np.median(np.take_along_axis(np.array(redrawn), drawn, axis=0)[0], axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


@functools.lru_cache(maxsize=16)
def _bootstrap(times_ms: tuple[float, ...]) -> tuple[float, float]:
    """Whether rounds are steady, what they come to and whether that is noisy all ask for the same few intervals."""
    return bootstrap_interval(list(times_ms))


def _over(measurements: Sequence[Rounds], kept: Sequence[Rounds], reference_ms: float | None) -> str:
    """What a figure rests on, in words."""
    rounds = sum(map(len, kept))
    text = f"over {rounds} rounds, {sum(int(entry['calls']) for part in kept for entry in part)} calls"
    if len(kept) > 1:
        text = f"{text} of {len(kept)} measurements"
    if dropped := sum(map(len, measurements)) - rounds:
        text = f"{text}, {dropped} disturbed or unsteady left out"
    corrections = [pace_correction(part, reference_ms) for part in kept]
    if corrected := [f"{speed:.2f}" for speed in corrections if speed != 1]:
        text = f"{text}, corrected for a machine at {', '.join(corrected)} of its speed"
    return text
